/* The hashes of streams.py, each as one operation of TensorFlow; the same words to the last bit. */
#include "operation.h"

static const uint32_t GOLDEN = 0x9E3779B9, SILVER = 0x85EBCA6B;

static inline uint32_t mix(uint32_t x) {
    x = (x ^ (x >> 16)) * 0x7FEB352D;
    x = (x ^ (x >> 15)) * 0x846CA68B;
    return x ^ (x >> 16);
}

/* keys [lane, 2], data [lane] -> keys [lane, 2]. */
static void fold(void *kernel, TF_OpKernelContext *context) {
    (void)kernel;
    Call call = begun(context);
    const uint32_t *keys = argument(&call, 0), *data = argument(&call, 1);
    const int64_t shape[] = {extent(&call, 0, 0), 2};
    uint32_t *out = result(&call, 0, TF_UINT32, 2, shape);
    for (int64_t i = 0; i < shape[0] && sound(&call); i++) {
        out[2 * i] = mix(keys[2 * i] ^ mix(data[i] + GOLDEN));
        out[2 * i + 1] = mix(keys[2 * i + 1] ^ mix(out[2 * i] + SILVER));
    }
    ended(&call);
}

/* keys [lane, 2], counters [word] -> words [lane, word]. */
static void bits(void *kernel, TF_OpKernelContext *context) {
    (void)kernel;
    Call call = begun(context);
    const uint32_t *keys = argument(&call, 0), *counters = argument(&call, 1);
    const int64_t shape[] = {extent(&call, 0, 0), extent(&call, 1, 0)};
    uint32_t *out = result(&call, 0, TF_UINT32, 2, shape);
    for (int64_t i = 0; i < shape[0] && sound(&call); i++, out += shape[1]) {
        uint32_t high = keys[2 * i], low = keys[2 * i + 1];
        for (int64_t j = 0; j < shape[1]; j++) out[j] = mix(mix(counters[j] * GOLDEN ^ high) ^ low);
    }
    ended(&call);
}

static const char *const NOTHING[] = {NULL};
static const char *const FOLDED[] = {"keys: uint32", "data: uint32", NULL};
static const char *const KEYS[] = {"folded: uint32", NULL};
static const char *const COUNTED[] = {"keys: uint32", "counters: uint32", NULL};
static const char *const WORDS[] = {"words: uint32", NULL};

__attribute__((constructor)) static void enrolled(void) {
    enroll(&(Operation){"MamlSweepFold", NOTHING, FOLDED, KEYS, NULL, fold, NULL});
    enroll(&(Operation){"MamlSweepBits", NOTHING, COUNTED, WORDS, NULL, bits, NULL});
}
