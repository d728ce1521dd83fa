/**
 * SipHash-2-4 (Aumasson and Bernstein, 2012): the keyed tag of tokens and trunk datagrams. Each 64-bit word is two
 * 32-bit halves in local variables, because BigInt would cost fifty times as much. It allocates nothing.
 */

/**
 * Writes the 8 bytes of the tag, little-endian, of `bytes` from `start` to before `end` to `out` at `outOffset`.
 * `key` has 16 bytes. The caller has checked that all of these lie within their buffers.
 */
export function siphash24(
  key: Buffer,
  bytes: Buffer,
  start: number,
  end: number,
  out: Buffer,
  outOffset: number,
): void {
  const k0l = int32(key, 0);
  const k0h = int32(key, 4);
  const k1l = int32(key, 8);
  const k1h = int32(key, 12);
  let v0l = k0l ^ 0x70736575;
  let v0h = k0h ^ 0x736f6d65;
  let v1l = k1l ^ 0x6e646f6d;
  let v1h = k1h ^ 0x646f7261;
  let v2l = k0l ^ 0x6e657261;
  let v2h = k0h ^ 0x6c796765;
  let v3l = k1l ^ 0x79746573;
  let v3h = k1h ^ 0x74656462;

  const length = end - start;
  const lastWord = start + (length & ~7);
  // One step for each whole word, one for the word that holds the rest and the length, one to finish.
  for (let at = start; at <= lastWord + 8; at += 8) {
    let ml = 0;
    let mh = 0;
    let rounds = 2;
    if (at < lastWord) {
      ml = int32(bytes, at);
      mh = int32(bytes, at + 4);
    } else if (at === lastWord) {
      mh = length << 24;
      for (let i = at; i < end; i++) {
        const shift = (i - at) << 3;
        if (shift < 32) ml |= bytes[i]! << shift;
        else mh |= bytes[i]! << (shift - 32);
      }
    } else {
      v2l ^= 0xff;
      rounds = 4;
    }
    v3l ^= ml;
    v3h ^= mh;
    for (; rounds > 0; rounds--) {
      let low = (v0l + v1l) | 0;
      v0h = (v0h + v1h + carry(v0l, low)) | 0;
      v0l = low;
      low = (v1l << 13) | (v1h >>> 19);
      v1h = ((v1h << 13) | (v1l >>> 19)) ^ v0h;
      v1l = low ^ v0l;
      low = v0l;
      v0l = v0h;
      v0h = low;

      low = (v2l + v3l) | 0;
      v2h = (v2h + v3h + carry(v2l, low)) | 0;
      v2l = low;
      low = (v3l << 16) | (v3h >>> 16);
      v3h = ((v3h << 16) | (v3l >>> 16)) ^ v2h;
      v3l = low ^ v2l;

      low = (v0l + v3l) | 0;
      v0h = (v0h + v3h + carry(v0l, low)) | 0;
      v0l = low;
      low = (v3l << 21) | (v3h >>> 11);
      v3h = ((v3h << 21) | (v3l >>> 11)) ^ v0h;
      v3l = low ^ v0l;

      low = (v2l + v1l) | 0;
      v2h = (v2h + v1h + carry(v2l, low)) | 0;
      v2l = low;
      low = (v1l << 17) | (v1h >>> 15);
      v1h = ((v1h << 17) | (v1l >>> 15)) ^ v2h;
      v1l = low ^ v2l;
      low = v2l;
      v2l = v2h;
      v2h = low;
    }
    v0l ^= ml;
    v0h ^= mh;
  }

  putInt32(out, outOffset, v0l ^ v1l ^ v2l ^ v3l);
  putInt32(out, outOffset + 4, v0h ^ v1h ^ v2h ^ v3h);
}

/** The carry out of bit 31 of a sum of two, whose low 32 bits are `sum`: it has wrapped if it is less than either. */
function carry(addend: number, sum: number): number {
  return sum >>> 0 < addend >>> 0 ? 1 : 0;
}

function int32(bytes: Buffer, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function putInt32(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}
