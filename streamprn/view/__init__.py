"""A live page in the browser, fed by a subscriber: nothing here can hold up the engine."""
