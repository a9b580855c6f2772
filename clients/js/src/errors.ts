/** A message does not follow the wire format. */
export class WireError extends Error {
  override readonly name = "WireError";
}
