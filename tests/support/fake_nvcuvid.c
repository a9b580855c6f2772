/* A video decoder's library that knows H.264 and HEVC, for `streamprn doctor`. */
struct caps { int codec, chroma; unsigned depth, reserved[3]; unsigned char supported; };
int cuvidGetDecoderCaps(struct caps *caps) {
    caps->supported = caps->chroma == 1 && caps->depth == 0 && (caps->codec == 4 || caps->codec == 8);
    return 0;
}
