"""A chip's YAML file: what it may say, how it is checked, and documents that follow from one."""
