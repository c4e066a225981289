"""One file for each kind of measurement: a function from the laboratory to lines of the table."""
