"""What is measured, each in a process of its own: a file for each package, which imports that package and no other's.

`launch` runs one of them. Those of other environments are run by their file, so they import nothing of Spanmill.
"""
