"""How much of the best of many is luck: figures of the returns of a search's combinations. Pure, in numpy."""
