"""One file for each library that is measured beside this project, and for this project itself."""
