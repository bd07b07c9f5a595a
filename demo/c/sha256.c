/* SHA-256, as FIPS 180-4 has it. The auditor compares what it says with Python's. */
#include "child.h"

#include <stdio.h>
#include <string.h>

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t turn(uint32_t word, int bits)
{
    return (word >> bits) | (word << (32 - bits));
}

static void add_block(uint32_t state[8], const unsigned char block[64])
{
    uint32_t words[64];
    uint32_t now[8];
    int i;
    for (i = 0; i < 16; i++) {
        words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    }
    for (i = 16; i < 64; i++) {
        uint32_t far = words[i - 15];
        uint32_t near = words[i - 2];
        words[i] = words[i - 16] + words[i - 7] + (turn(far, 7) ^ turn(far, 18) ^ (far >> 3)) + (turn(near, 17) ^ turn(near, 19) ^ (near >> 10));
    }
    memcpy(now, state, sizeof now);
    for (i = 0; i < 64; i++) {
        uint32_t choice = (now[4] & now[5]) ^ (~now[4] & now[6]);
        uint32_t majority = (now[0] & now[1]) ^ (now[0] & now[2]) ^ (now[1] & now[2]);
        uint32_t first = now[7] + (turn(now[4], 6) ^ turn(now[4], 11) ^ turn(now[4], 25)) + choice + K[i] + words[i];
        uint32_t second = (turn(now[0], 2) ^ turn(now[0], 13) ^ turn(now[0], 22)) + majority;
        memmove(now + 1, now, 7 * sizeof now[0]);
        now[4] += first;
        now[0] = first + second;
    }
    for (i = 0; i < 8; i++) {
        state[i] += now[i];
    }
}

void sha256(const void *data, size_t size, char digest[65])
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const unsigned char *bytes = data;
    unsigned char last[128] = {0};
    size_t rest = size % 64;
    size_t last_size = rest < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)size * 8;
    size_t at;
    int i;
    for (at = 0; at + 64 <= size; at += 64) {
        add_block(state, bytes + at);
    }
    if (rest > 0) {
        memcpy(last, bytes + at, rest);
    }
    last[rest] = 0x80;
    for (i = 0; i < 8; i++) {
        last[last_size - 1 - (size_t)i] = (unsigned char)(bits >> (8 * i));
    }
    for (at = 0; at < last_size; at += 64) {
        add_block(state, last + at);
    }
    for (i = 0; i < 8; i++) {
        snprintf(digest + 8 * i, 9, "%08x", (unsigned int)state[i]);
    }
}
