"""What a trial is, the progress that its training saves, and the record of where it was computed."""
