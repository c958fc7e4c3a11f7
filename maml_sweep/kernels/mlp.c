/* MAML's meta-gradient for multi-layer perceptrons, as one operation of TensorFlow.
 *
 * A task's whole inner loop, forwards and back, is done before the next task's: its weights,
 * activations and slopes stay in a core's nearest caches, where a pack's operations, which go over
 * all lanes one behind another, fetch them from further away. Mathematics and names are those of
 * algorithms/maml.py and models/networks.py, whose numbers it gives up to rounding.
 *
 * Second order: v, the slope of the query loss at the adapted weights, is carried back through the
 * inner steps by v <- v - rate * H v, where H v is how the support loss's slope changes along v
 * (Pearlmutter 1994, "Fast exact multiplication by the Hessian").
 *
 * Matrices lie by rows, whose lengths are rounded up to whole vectors. The padding is zero and
 * stays so: nothing written here depends on it.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/kernels.h"
#include "tensorflow/c/tf_datatype.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"

/* tensorflow/c/ops.h is C++ in all but name: what is needed of it. */
typedef struct TF_OpDefinitionBuilder TF_OpDefinitionBuilder;
TF_OpDefinitionBuilder *TF_NewOpDefinitionBuilder(const char *name);
void TF_RegisterOpDefinition(TF_OpDefinitionBuilder *builder, TF_Status *status);
void TF_OpDefinitionBuilderAddAttr(TF_OpDefinitionBuilder *builder, const char *attribute);
void TF_OpDefinitionBuilderAddInput(TF_OpDefinitionBuilder *builder, const char *input);
void TF_OpDefinitionBuilderAddOutput(TF_OpDefinitionBuilder *builder, const char *output);

#define NAME "MamlSweepMlpGradient"

enum { VECTOR = 8, MOST_LAYERS = 8 };

/* What the processor does at once; in memory it may lie anywhere. */
typedef float Vector __attribute__((vector_size(VECTOR * sizeof(float)), aligned(4), may_alias));

/* -- the network --------------------------------------------------------------------------- */

typedef struct {
    int layers;                  /* products with weights */
    int widths[MOST_LAYERS + 1]; /* units: of the input, of each layer's output */
    int wide[MOST_LAYERS + 1];   /* the same as whole vectors */
    int weight[MOST_LAYERS];     /* where each layer's weight starts, [up(in), wide(out)] */
    int bias[MOST_LAYERS];       /* and its bias, [wide(out)] */
    int size;                    /* of all of them */
    int numbers;                 /* of them without padding, as a layout joins them */
    unsigned char classes;       /* cross-entropy of a softmax, else squared error */
    unsigned char first_order;   /* inner slopes are constants (FOMAML) */
} Network;

static int up(int count) { return (count + VECTOR - 1) / VECTOR * VECTOR; }

static void lay_out(Network *net) {
    net->size = net->numbers = 0;
    for (int l = 0; l <= net->layers; l++) net->wide[l] = up(net->widths[l]);
    for (int l = 0; l < net->layers; l++) {
        net->weight[l] = net->size;
        net->bias[l] = net->weight[l] + net->wide[l] * net->wide[l + 1];
        net->size = net->bias[l] + net->wide[l + 1];
        net->numbers += (net->widths[l] + 1) * net->widths[l + 1];
    }
}

/* Between a layout's numbers and ours: `each` of (ours, theirs, count) a row. */
static void rows(const Network *net, float *ours, float *theirs,
                 void (*each)(float *, float *, int)) {
    for (int l = 0; l < net->layers; l++) {
        int out = net->widths[l + 1];
        for (int i = 0; i < net->widths[l]; i++, theirs += out)
            each(ours + net->weight[l] + i * net->wide[l + 1], theirs, out);
        each(ours + net->bias[l], theirs, out);
        theirs += out;
    }
}

static void taken(float *ours, float *theirs, int count) {
    memcpy(ours, theirs, count * sizeof(float));
}

static void given(float *ours, float *theirs, int count) {
    memcpy(theirs, ours, count * sizeof(float));
}

/* -- products ------------------------------------------------------------------------------ */

typedef struct { /* a [i, k] is at from[i * down + k * across] */
    const float *from;
    int down, across;
} Strided;

static Strided plain(const float *from, int stride) { return (Strided){from, stride, 1}; }
static Strided sideways(const float *from, int stride) { return (Strided){from, 1, stride}; }

/* `height` rows and `width` vectors of c = (c where `more`) + a b; both are known when compiled. */
static inline __attribute__((always_inline)) void block(float *c, int stride, Strided a,
                                                        const float *b, int depth, int more,
                                                        const int height, const int width) {
    Vector sum[5][6];
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++)
            sum[i][j] = more ? *(Vector *)(c + i * stride + j * VECTOR) : (Vector){0};
    for (int k = 0; k < depth; k++)
        for (int i = 0; i < height; i++) {
            float factor = a.from[i * a.down + k * a.across];
            for (int j = 0; j < width; j++)
                sum[i][j] += factor * *(const Vector *)(b + k * stride + j * VECTOR);
        }
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) *(Vector *)(c + i * stride + j * VECTOR) = sum[i][j];
}

static inline __attribute__((always_inline)) void panel(float *c, int stride, Strided a,
                                                        const float *b, int rows, int depth,
                                                        int more, const int height,
                                                        const int width) {
    int i = 0;
    for (; rows - i >= height; i += height, a.from += height * a.down)
        block(c + i * stride, stride, a, b, depth, more, height, width);
    for (; rows - i >= 2; i += 2, a.from += 2 * a.down)
        block(c + i * stride, stride, a, b, depth, more, 2, width);
    if (i < rows) block(c + i * stride, stride, a, b, depth, more, 1, width);
}

/* Rows at once for panels of 1 to 6 vectors: as many sums as there are registers for. */
#ifdef __AVX512VL__
enum { ROWS1 = 5, ROWS2 = 5, ROWS3 = 5, ROWS4 = 5, ROWS5 = 5, ROWS6 = 4 };
#else
enum { ROWS1 = 5, ROWS2 = 5, ROWS3 = 4, ROWS4 = 3, ROWS5 = 2, ROWS6 = 2 };
#endif

/* c [rows, stride] = (c where `more`) + a [rows, depth] b [depth, stride]. */
static void multiply(float *c, int stride, Strided a, const float *b, int rows, int depth,
                     int more) {
    int left = stride / VECTOR;
    for (int panels = (left + 5) / 6; panels > 0; panels--) {
        int width = (left + panels - 1) / panels;
        switch (width) {
        case 1: panel(c, stride, a, b, rows, depth, more, ROWS1, 1); break;
        case 2: panel(c, stride, a, b, rows, depth, more, ROWS2, 2); break;
        case 3: panel(c, stride, a, b, rows, depth, more, ROWS3, 3); break;
        case 4: panel(c, stride, a, b, rows, depth, more, ROWS4, 4); break;
        case 5: panel(c, stride, a, b, rows, depth, more, ROWS5, 5); break;
        default: panel(c, stride, a, b, rows, depth, more, ROWS6, 6);
        }
        left -= width;
        c += width * VECTOR;
        b += width * VECTOR;
    }
}

/* out [columns, rows] = the transpose of in [rows, columns]; both are whole vectors. */
static void turn(float *out, const float *in, int rows, int columns) {
    for (int i = 0; i < rows; i += 8)
        for (int j = 0; j < columns; j += 8) {
            Vector r[8], t[8];
            for (int q = 0; q < 8; q++) r[q] = *(const Vector *)(in + (i + q) * columns + j);
            for (int q = 0; q < 8; q += 2) {
                t[q] = __builtin_shufflevector(r[q], r[q + 1], 0, 8, 1, 9, 4, 12, 5, 13);
                t[q + 1] = __builtin_shufflevector(r[q], r[q + 1], 2, 10, 3, 11, 6, 14, 7, 15);
            }
            for (int q = 0; q < 8; q += 4)
                for (int p = 0; p < 2; p++) {
                    Vector a = t[q + p], b = t[q + p + 2];
                    r[q + 2 * p] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
                    r[q + 2 * p + 1] = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
                }
            for (int q = 0; q < 4; q++) {
                Vector a = r[q], b = r[q + 4];
                *(Vector *)(out + (j + q) * rows + i) =
                    __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
                *(Vector *)(out + (j + q + 4) * rows + i) =
                    __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
            }
        }
}

/* Every layer's weight transposed, [wide(out), wide(in)]. */
static void turn_all(const Network *net, float *out, const float *w) {
    for (int l = 1; l < net->layers; l++) /* nobody asks for the slope of the input */
        turn(out + net->weight[l], w + net->weight[l], net->wide[l], net->wide[l + 1]);
}

/* to = from + factor * step. */
static void moved(float *to, const float *from, float factor, const float *step, int count) {
    for (int i = 0; i < count; i++) to[i] = from[i] + factor * step[i];
}

/* to [columns] = the sum of the rows of e [rows, columns]. */
static void summed(float *to, const float *e, int rows, int columns) {
    memset(to, 0, columns * sizeof(float));
    for (int k = 0; k < rows; k++)
        for (int j = 0; j < columns; j++) to[j] += e[k * columns + j];
}

/* e = 0 where the unit h is off. */
static void masked(float *e, const float *h, int count) {
    for (int j = 0; j < count; j++) e[j] = h[j] > 0 ? e[j] : 0;
}

/* -- one inner step ------------------------------------------------------------------------ */

typedef struct { /* examples on their way through the network */
    int count;
    const float *x, *y;        /* [count, inputs], [count, outputs] */
    float *h[MOST_LAYERS + 1]; /* each layer's output, [count, wide]; not of the input */
    float *e[MOST_LAYERS + 1]; /* the slope of the loss by it, before a ReLU */
    float *odds;               /* of the classes, [count, wide] */
} Pass;

/* What goes into layer l, examples in rows; where `turned`, in columns. */
static Strided input(const Network *net, const Pass *pass, int l, int turned) {
    const float *from = l ? pass->h[l] : pass->x;
    int stride = l ? net->wide[l] : net->widths[0];
    return turned ? sideways(from, stride) : plain(from, stride);
}

/* Mean loss of the last layer's output, and its slope. */
static float judged(const Network *net, Pass *pass) {
    int last = net->layers, outputs = net->widths[last], wide = net->wide[last];
    float loss = 0;
    for (int k = 0; k < pass->count; k++) {
        const float *z = pass->h[last] + k * wide, *y = pass->y + k * outputs;
        float *e = pass->e[last] + k * wide, *odds = pass->odds + k * wide;
        if (!net->classes) {
            for (int j = 0; j < outputs; j++) {
                float miss = z[j] - y[j];
                loss += miss * miss / (pass->count * outputs);
                e[j] = 2 * miss / (pass->count * outputs);
            }
            continue;
        }
        float most = z[0], total = 0, right = 0;
        for (int j = 1; j < outputs; j++) most = z[j] > most ? z[j] : most;
        for (int j = 0; j < outputs; j++) total += odds[j] = expf(z[j] - most);
        for (int j = 0; j < outputs; j++) {
            odds[j] /= total;
            right += y[j] * (z[j] - most);
            e[j] = (odds[j] - y[j]) / pass->count;
        }
        loss += (logf(total) - right) / pass->count;
    }
    return loss;
}

/* q = how the loss's slope by the last output changes as that output moves by r. */
static void judged_along(const Network *net, const Pass *pass, const float *r, float *q) {
    int last = net->layers, outputs = net->widths[last], wide = net->wide[last];
    for (int k = 0; k < pass->count; k++, r += wide, q += wide) {
        const float *odds = pass->odds + k * wide;
        float mean = 0;
        for (int j = 0; j < outputs && net->classes; j++) mean += odds[j] * r[j];
        for (int j = 0; j < outputs; j++)
            q[j] = net->classes ? odds[j] * (r[j] - mean) / pass->count
                                : 2 * r[j] / (pass->count * outputs);
    }
}

static float forward(const Network *net, Pass *pass, const float *w) {
    for (int l = 0; l < net->layers; l++) {
        int wide = net->wide[l + 1], hidden = l + 1 < net->layers;
        float *h = pass->h[l + 1];
        const float *bias = w + net->bias[l];
        multiply(h, wide, input(net, pass, l, 0), w + net->weight[l], pass->count, net->widths[l],
                 0);
        for (int k = 0; k < pass->count; k++, h += wide)
            for (int j = 0; j < wide; j++) {
                float z = h[j] + bias[j];
                h[j] = hidden && z < 0 ? 0 : z; /* what is no number stays none */
            }
    }
    return judged(net, pass);
}

/* slope = the loss's by the weights; turned: their transposes. */
static void backward(const Network *net, Pass *pass, const float *turned, float *slope) {
    for (int l = net->layers - 1; l >= 0; l--) {
        int wide = net->wide[l + 1];
        const float *e = pass->e[l + 1];
        multiply(slope + net->weight[l], wide, input(net, pass, l, 1), e, net->widths[l],
                 pass->count, 0);
        summed(slope + net->bias[l], e, pass->count, wide);
        if (l == 0) return;
        multiply(pass->e[l], net->wide[l], plain(e, wide), turned + net->weight[l], pass->count,
                 net->widths[l + 1], 0);
        masked(pass->e[l], pass->h[l], pass->count * net->wide[l]);
    }
}

/* along = H v: how `slope` changes as the weights w move along v; r, q: room like a pass's h, e. */
static void curvature(const Network *net, const Pass *pass, const float *w, const float *turned,
                      const float *v, const float *turned_v, float *const *r, float *const *q,
                      float *along) {
    for (int l = 0; l < net->layers; l++) {
        int wide = net->wide[l + 1];
        const float *bias = v + net->bias[l];
        multiply(r[l + 1], wide, input(net, pass, l, 0), v + net->weight[l], pass->count,
                 net->widths[l], 0);
        if (l)
            multiply(r[l + 1], wide, plain(r[l], net->wide[l]), w + net->weight[l], pass->count,
                     net->widths[l], 1);
        for (int k = 0; k < pass->count; k++)
            for (int j = 0; j < wide; j++) r[l + 1][k * wide + j] += bias[j];
        if (l + 1 < net->layers) masked(r[l + 1], pass->h[l + 1], pass->count * wide);
    }
    judged_along(net, pass, r[net->layers], q[net->layers]);
    for (int l = net->layers - 1; l >= 0; l--) {
        int wide = net->wide[l + 1];
        const float *e = pass->e[l + 1];
        multiply(along + net->weight[l], wide, input(net, pass, l, 1), q[l + 1], net->widths[l],
                 pass->count, 0);
        summed(along + net->bias[l], q[l + 1], pass->count, wide);
        if (l == 0) return;
        multiply(along + net->weight[l], wide, sideways(r[l], net->wide[l]), e, net->widths[l],
                 pass->count, 1);
        multiply(q[l], net->wide[l], plain(q[l + 1], wide), turned + net->weight[l], pass->count,
                 net->widths[l + 1], 0);
        multiply(q[l], net->wide[l], plain(e, wide), turned_v + net->weight[l], pass->count,
                 net->widths[l + 1], 1);
        masked(q[l], pass->h[l], pass->count * net->wide[l]);
    }
}

/* -- a lane -------------------------------------------------------------------------------- */

typedef struct { /* room for one lane's inner loop; kept by each thread, padding zero */
    Network net;
    int steps, shots, queries;
    float *floats;  /* all there is, the rest lies in it */
    float **w, **turned;
    Pass *support, query;
    float *r[MOST_LAYERS + 1], *q[MOST_LAYERS + 1], *v, *turned_v, *slope, *sum;
} Room;

static float *cut(float **next, int count) {
    float *part = *next;
    *next += count;
    return part;
}

static void furnish(const Network *net, Pass *pass, int count, float **next) {
    pass->count = count;
    for (int l = 1; l <= net->layers; l++) {
        pass->h[l] = cut(next, count * net->wide[l]);
        pass->e[l] = cut(next, count * net->wide[l]);
    }
    pass->odds = cut(next, count * net->wide[net->layers]);
}

static void vacate(Room *room) {
    if (!room) return;
    free(room->floats);
    free(room->w);
    free(room->turned);
    free(room->support);
    free(room);
}

/* This thread's room for such lanes; null where memory ends. */
static Room *room_for(const Network *net, int steps, int shots, int queries) {
    static __thread Room *kept;
    if (kept && !memcmp(&kept->net, net, sizeof *net) && kept->steps >= steps &&
        kept->shots == shots && kept->queries == queries)
        return kept;
    vacate(kept);
    kept = NULL;
    size_t units = 0;
    for (int l = 1; l <= net->layers; l++) units += net->wide[l];
    size_t examples = (size_t)(steps + 1) * shots + queries; /* one more support's for r and q */
    size_t floats = (2 * (size_t)(steps + 1) + 4) * net->size +
                    examples * (2 * units + net->wide[net->layers]);
    Room *room = calloc(1, sizeof *room);
    if (!room) return NULL;
    float **w = room->w = calloc(steps + 1, sizeof *w);
    float **turned = room->turned = calloc(steps + 1, sizeof *turned);
    Pass *support = room->support = calloc(steps + 1, sizeof *support);
    void *memory = NULL;
    int full = posix_memalign(&memory, 64, floats * sizeof(float));
    room->floats = memory;
    if (full || !w || !turned || !support) {
        vacate(room);
        return NULL;
    }
    memset(memory, 0, floats * sizeof(float));
    room->net = *net;
    room->steps = steps;
    room->shots = shots;
    room->queries = queries;
    float *next = memory;
    for (int i = 0; i <= steps; i++) {
        w[i] = cut(&next, net->size);
        turned[i] = cut(&next, net->size);
        if (i < steps) furnish(net, &support[i], shots, &next);
    }
    furnish(net, &room->query, queries, &next);
    for (int l = 1; l <= net->layers; l++) {
        room->r[l] = cut(&next, shots * net->wide[l]);
        room->q[l] = cut(&next, shots * net->wide[l]);
    }
    room->v = cut(&next, net->size);
    room->turned_v = cut(&next, net->size);
    room->slope = cut(&next, net->size);
    room->sum = cut(&next, net->size);
    return kept = room;
}

/* The query loss after adaptation; its slope by the weights before, w[0], is left in v. */
static float adapted(Room *room, const float *const *data, int steps, float rate) {
    const Network *net = &room->net;
    for (int i = 0; i < steps; i++) {
        Pass *pass = &room->support[i];
        pass->x = data[0];
        pass->y = data[1];
        forward(net, pass, room->w[i]);
        if (i) turn_all(net, room->turned[i], room->w[i]);
        backward(net, pass, room->turned[i], room->slope);
        moved(room->w[i + 1], room->w[i], -rate, room->slope, net->size);
    }
    room->query.x = data[2];
    room->query.y = data[3];
    float loss = forward(net, &room->query, room->w[steps]);
    if (steps) turn_all(net, room->turned[steps], room->w[steps]);
    backward(net, &room->query, room->turned[steps], room->v);
    for (int i = steps - 1; i >= 0 && !net->first_order; i--) {
        turn_all(net, room->turned_v, room->v);
        curvature(net, &room->support[i], room->w[i], room->turned[i], room->v, room->turned_v,
                  room->r, room->q, room->slope);
        moved(room->v, room->v, -rate, room->slope, net->size);
    }
    return loss;
}

/* -- the operation ------------------------------------------------------------------------- */

enum { THETA, OWNER, WEIGHT, STEPS, RATE, SUPPORT_X, SUPPORT_Y, QUERY_X, QUERY_Y, INPUTS };

static const char *const INPUT_NAMES[INPUTS] = {
    "theta: float",     "owner: int32",     "weight: float",  "steps: int32",  "rate: float",
    "support_x: float", "support_y: float", "query_x: float", "query_y: float"};

/* Gradients [place, number] and losses [place] of all lanes, whose owners ascend. */
static const char *all_lanes(const Network *net, void *const *in, int64_t lanes, int shots,
                             int queries, float *gradient, float *loss) {
    const int32_t *owner = in[OWNER], *steps = in[STEPS];
    const float *weight = in[WEIGHT], *rate = in[RATE];
    int most = 0, inputs = net->widths[0], outputs = net->widths[net->layers];
    for (int64_t i = 0; i < lanes; i++) most = steps[i] > most ? steps[i] : most;
    Room *room = room_for(net, most, shots, queries);
    if (!room) return "no memory for an inner loop";
    for (int64_t i = 0; i < lanes; i++) {
        if (i == 0 || owner[i] != owner[i - 1]) {
            rows(net, room->w[0], (float *)in[THETA] + (size_t)owner[i] * net->numbers, taken);
            turn_all(net, room->turned[0], room->w[0]);
            memset(room->sum, 0, net->size * sizeof(float));
        }
        const float *data[4] = {(float *)in[SUPPORT_X] + i * shots * inputs,
                                (float *)in[SUPPORT_Y] + i * shots * outputs,
                                (float *)in[QUERY_X] + i * queries * inputs,
                                (float *)in[QUERY_Y] + i * queries * outputs};
        loss[owner[i]] += weight[i] * adapted(room, data, steps[i], rate[i]);
        moved(room->sum, room->sum, weight[i], room->v, net->size);
        if (i + 1 == lanes || owner[i + 1] != owner[i])
            rows(net, room->sum, gradient + (size_t)owner[i] * net->numbers, given);
    }
    return NULL;
}

static void *create(TF_OpKernelConstruction *context) {
    Network *net = calloc(1, sizeof *net);
    TF_Status *status = TF_NewStatus();
    int32_t count = 0, bytes = 0;
    TF_OpKernelConstruction_GetAttrSize(context, "widths", &count, &bytes, status);
    if (net && count >= 2 && count <= MOST_LAYERS + 1) {
        TF_OpKernelConstruction_GetAttrInt32List(context, "widths", net->widths, count, status);
        TF_OpKernelConstruction_GetAttrBool(context, "classes", &net->classes, status);
        TF_OpKernelConstruction_GetAttrBool(context, "first_order", &net->first_order, status);
        net->layers = count - 1;
        lay_out(net);
    } else {
        TF_SetStatus(status, TF_INVALID_ARGUMENT, NAME ": too many layers, or none");
    }
    if (TF_GetCode(status) != TF_OK) TF_OpKernelConstruction_Failure(context, status);
    TF_DeleteStatus(status);
    return net;
}

static void discard(void *net) { free(net); }

static void compute(void *kernel, TF_OpKernelContext *context) {
    const Network *net = kernel;
    TF_Status *status = TF_NewStatus();
    TF_Tensor *tensors[INPUTS] = {0}, *gradient = NULL, *loss = NULL;
    void *in[INPUTS];
    for (int i = 0; i < INPUTS && TF_GetCode(status) == TF_OK; i++) {
        TF_GetInput(context, i, &tensors[i], status);
        if (TF_GetCode(status) == TF_OK) in[i] = TF_TensorData(tensors[i]);
    }
    if (TF_GetCode(status) == TF_OK && TF_Dim(tensors[THETA], 1) != net->numbers)
        TF_SetStatus(status, TF_INVALID_ARGUMENT, NAME ": theta does not fit the widths");
    if (TF_GetCode(status) == TF_OK) {
        int64_t shape[2] = {TF_Dim(tensors[THETA], 0), net->numbers};
        size_t bytes = shape[0] * sizeof(float);
        gradient = TF_AllocateOutput(context, 0, TF_FLOAT, shape, 2, bytes * net->numbers, status);
        loss = TF_AllocateOutput(context, 1, TF_FLOAT, shape, 1, bytes, status);
        if (TF_GetCode(status) == TF_OK) {
            float *slopes = TF_TensorData(gradient), *losses = TF_TensorData(loss);
            memset(slopes, 0, bytes * net->numbers);
            memset(losses, 0, bytes);
            const char *wrong = all_lanes(net, in, TF_Dim(tensors[OWNER], 0),
                                          (int)TF_Dim(tensors[SUPPORT_X], 1),
                                          (int)TF_Dim(tensors[QUERY_X], 1), slopes, losses);
            if (wrong) TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, wrong);
        }
    }
    if (TF_GetCode(status) != TF_OK) TF_OpKernelContext_Failure(context, status);
    for (int i = 0; i < INPUTS; i++)
        if (tensors[i]) TF_DeleteTensor(tensors[i]);
    if (gradient) TF_DeleteTensor(gradient);
    if (loss) TF_DeleteTensor(loss);
    TF_DeleteStatus(status);
}

__attribute__((constructor)) static void registered(void) {
    TF_Status *status = TF_NewStatus();
    TF_OpDefinitionBuilder *builder = TF_NewOpDefinitionBuilder(NAME);
    TF_OpDefinitionBuilderAddAttr(builder, "widths: list(int)");
    TF_OpDefinitionBuilderAddAttr(builder, "classes: bool");
    TF_OpDefinitionBuilderAddAttr(builder, "first_order: bool");
    for (int i = 0; i < INPUTS; i++) TF_OpDefinitionBuilderAddInput(builder, INPUT_NAMES[i]);
    TF_OpDefinitionBuilderAddOutput(builder, "gradient: float");
    TF_OpDefinitionBuilderAddOutput(builder, "loss: float");
    TF_RegisterOpDefinition(builder, status);
    TF_KernelBuilder *kernel = TF_NewKernelBuilder(NAME, "CPU", create, compute, discard);
    TF_RegisterKernelBuilder(NAME, kernel, status);
    TF_DeleteStatus(status);
}
