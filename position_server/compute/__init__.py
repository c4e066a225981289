"""The compute plane: worker processes that price, encode and return bytes, so that the serving process need not."""
