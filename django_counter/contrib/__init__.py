"""Support of other packages. Each module needs the one that it is named after."""
