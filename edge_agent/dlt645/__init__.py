"""DL/T 645-2007, the protocol of Chinese utility meters: pure, bytes in, values out. The serial bus that carries it comes later."""
