"""The trials of many replicas become the tables that the page is made of."""
