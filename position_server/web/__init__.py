"""What speaks HTTP: handlers read, call one method of a service, and write what it returns."""
