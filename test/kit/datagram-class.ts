/** Owns the classes of a client's datagrams (RFC 7983), as tests tell them apart. */

export const isDtls = (datagram: Buffer): boolean => datagram[0]! >= 20 && datagram[0]! <= 63;
export const isMedia = (datagram: Buffer): boolean => datagram[0]! >= 128 && datagram[0]! <= 191;
