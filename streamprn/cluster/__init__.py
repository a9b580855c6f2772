"""Many workers behind one address: Ray starts them, a proxy stands in front.

Frames never travel through Ray: every worker decodes, infers and publishes by itself.
"""
