"""Text made token by token: sampling, decoding, and the thread in which it is done."""
