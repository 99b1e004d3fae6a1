"""Tools for developers of Drover; nothing here is part of the installed packages."""
