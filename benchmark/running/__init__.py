"""What runs next, and where: a plan's missing trials on an executor, also beside other drivers."""
