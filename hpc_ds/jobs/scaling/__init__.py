"""How well the engines will run on many ranks: their messages counted, the network's published figures, one model."""
