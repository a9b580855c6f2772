"""What other programs read: faces as VMC, iFacialMocap, Live Link Face, MQTT and CSV.

A bridge is a subscriber like any other: it takes the newest message, and never slows the engine.
"""
