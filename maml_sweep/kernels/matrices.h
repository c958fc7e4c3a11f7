/* Products of matrices that fit into a core's nearest caches.
 *
 * They lie by rows, whose lengths are rounded up to whole vectors. The padding is zero where the
 * numbers are finite; what is not padding never depends on it.
 */
#ifndef MAML_SWEEP_MATRICES_H
#define MAML_SWEEP_MATRICES_H

#include <string.h>

enum { VECTOR = 8, MOST_ROWS = 10, MOST_VECTORS = 6 };

/* What the processor does at once, here or with AVX-512; in memory it may lie anywhere. */
typedef float Half __attribute__((vector_size(VECTOR / 2 * sizeof(float)), aligned(4), may_alias));
typedef float Vector __attribute__((vector_size(VECTOR * sizeof(float)), aligned(4), may_alias));
typedef float Pair __attribute__((vector_size(2 * VECTOR * sizeof(float)), aligned(4), may_alias));
#ifdef __AVX512F__
enum { PAIRED = 1, REGISTERS = 32 };
#else
enum { PAIRED = 0, REGISTERS = 16 };
#endif

typedef struct { /* numbers by rows, or by columns where `turned` */
    const float *from;
    int stride, turned;
} Matrix;

static inline Matrix plain(const float *from, int stride) { return (Matrix){from, stride, 0}; }
static inline Matrix sideways(const float *from, int stride) { return (Matrix){from, stride, 1}; }

/* What a product is added to. */
static inline Matrix nothing(void) { return (Matrix){0}; }
static inline Matrix each_row(const float *row) { return (Matrix){row, 0, 0}; }

static inline int up(int count) { return (count + VECTOR - 1) / VECTOR * VECTOR; }

#define UNROLLED static inline __attribute__((always_inline)) /* its const arguments are known */

/* `height` rows and `width` vectors of c = base + a b. */
UNROLLED void block(float *c, int stride, Matrix base, Matrix a, const float *b, int depth,
                    const int turned, const int width, const int height) {
    const int pairs = PAIRED ? width / 2 : 0, whole = 2 * pairs;
    const int down = turned ? 1 : a.stride, across = turned ? a.stride : 1;
    Pair pair[MOST_ROWS][MOST_VECTORS / 2];
    Vector sum[MOST_ROWS][MOST_VECTORS];
    for (int i = 0; i < height; i++) {
        for (int j = 0; j < pairs; j++) pair[i][j] = (Pair){0};
        for (int j = whole; j < width; j++) sum[i][j] = (Vector){0};
    }
    for (int k = 0; k < depth; k++, a.from += across, b += stride)
        for (int i = 0; i < height; i++) {
            const float f = a.from[i * down];
            const Pair factors = {f, f, f, f, f, f, f, f, f, f, f, f, f, f, f, f};
            const Vector half = __builtin_shufflevector(factors, factors, 0, 1, 2, 3, 4, 5, 6, 7);
            for (int j = 0; j < pairs; j++)
                pair[i][j] += factors * *(const Pair *)(b + 2 * j * VECTOR);
            for (int j = whole; j < width; j++)
                sum[i][j] += half * *(const Vector *)(b + j * VECTOR);
        }
    for (int i = 0; i < height && base.from; i++, base.from += base.stride) {
        for (int j = 0; j < pairs; j++) pair[i][j] += *(const Pair *)(base.from + 2 * j * VECTOR);
        for (int j = whole; j < width; j++) sum[i][j] += *(const Vector *)(base.from + j * VECTOR);
    }
    for (int i = 0; i < height; i++, c += stride) {
        for (int j = 0; j < pairs; j++) *(Pair *)(c + 2 * j * VECTOR) = pair[i][j];
        for (int j = whole; j < width; j++) *(Vector *)(c + j * VECTOR) = sum[i][j];
    }
}

/* As many rows at once as there are registers for the sums of. */
UNROLLED void panel(float *c, int stride, Matrix base, Matrix a, const float *b, int rows,
                    int depth, const int turned, const int width) {
    const int sums = PAIRED ? (width + 1) / 2 : width, most = (REGISTERS - 1 - sums) / sums;
    const int height = most >= 10 ? 10 : most >= 5 ? 5 : most, down = turned ? 1 : a.stride;
#define BLOCKS(HEIGHT)                                                                             \
    for (; rows >= (HEIGHT); rows -= (HEIGHT)) {                                                   \
        block(c, stride, base, a, b, depth, turned, width, HEIGHT);                                \
        c += (HEIGHT) * stride;                                                                    \
        base.from += (HEIGHT) * base.stride;                                                       \
        a.from += (HEIGHT) * down;                                                                 \
    }
    BLOCKS(height)
    if (height > 5) BLOCKS(5)
    BLOCKS(2)
    BLOCKS(1)
#undef BLOCKS
}

/* All columns, in panels of as equal widths as can be. */
UNROLLED void panels(float *c, int stride, Matrix base, Matrix a, const float *b, int rows,
                     int depth, const int turned) {
    int left = stride / VECTOR;
    for (int count = (left + MOST_VECTORS - 1) / MOST_VECTORS; count > 0; count--) {
        int width = (left + count - 1) / count;
        switch (width) {
        case 1: panel(c, stride, base, a, b, rows, depth, turned, 1); break;
        case 2: panel(c, stride, base, a, b, rows, depth, turned, 2); break;
        case 3: panel(c, stride, base, a, b, rows, depth, turned, 3); break;
        case 4: panel(c, stride, base, a, b, rows, depth, turned, 4); break;
        case 5: panel(c, stride, base, a, b, rows, depth, turned, 5); break;
        default: panel(c, stride, base, a, b, rows, depth, turned, 6);
        }
        left -= width;
        c += width * VECTOR;
        b += width * VECTOR;
        if (base.from) base.from += width * VECTOR;
    }
}

/* c [rows, stride] = base [rows, stride] + a [rows, depth] b [depth, stride]. */
static void multiply(float *c, int stride, Matrix base, Matrix a, const float *b, int rows,
                     int depth) {
    if (a.turned)
        panels(c, stride, base, a, b, rows, depth, 1);
    else
        panels(c, stride, base, a, b, rows, depth, 0);
}

/* out [columns, rows] = the transpose of in [rows, columns]; both are whole vectors. */
static void turn(float *out, const float *in, int rows, int columns) {
    for (int i = 0; i < rows; i += 8)
        for (int j = 0; j < columns; j += 4) {
            Vector row[4], mixed[4]; /* in a vector's halves, rows that lie four apart */
            for (int q = 0; q < 4; q++) {
                const float *from = in + (i + q) * columns + j;
                row[q] = __builtin_shufflevector(*(const Half *)from,
                                                 *(const Half *)(from + 4 * columns), 0, 1, 2, 3,
                                                 4, 5, 6, 7);
            }
            for (int q = 0; q < 4; q += 2) {
                Vector a = row[q], b = row[q + 1];
                mixed[q] = __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
                mixed[q + 1] = __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
            }
            for (int q = 0; q < 2; q++) {
                float *to = out + (j + 2 * q) * rows + i;
                Vector a = mixed[q], b = mixed[q + 2];
                *(Vector *)to = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
                *(Vector *)(to + rows) =
                    __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
            }
        }
}

#endif
