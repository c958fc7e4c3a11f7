/* MAML for multi-layer perceptrons: meta-gradients and adapted answers as operations of TensorFlow.
 *
 * A task's whole inner loop, forwards and back, is done before the next task's: its weights,
 * activations and slopes stay in a core's nearest caches, where a pack's operations, which go over
 * all lanes one behind another, fetch them from further away. Mathematics and names are those of
 * algorithms/maml.py and models/networks.py, whose numbers it gives up to rounding.
 *
 * Second order: v, the slope of the query loss at the adapted weights, is carried back through the
 * inner steps by v <- v - rate * H v, where H v is how the support loss's slope changes along v
 * (Pearlmutter 1994, "Fast exact multiplication by the Hessian").
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "matrices.h"
#include "operation.h"

enum { MOST_LAYERS = 8 };

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

/* -- an inner step ------------------------------------------------------------------------- */

typedef struct { /* examples on their way through the network */
    int count;
    const float *x, *y;        /* [count, inputs], [count, outputs] */
    float factor;              /* of the loss, in its slopes */
    float *h[MOST_LAYERS + 1]; /* each layer's output, [count, wide]; not of the input */
    float *e[MOST_LAYERS + 1]; /* the slope of the loss by it, before a ReLU */
    float *odds;               /* of the classes, [count, wide] */
} Pass;

/* What goes into layer l, examples in rows; where `turned`, in columns. */
static Matrix input(const Network *net, const Pass *pass, int l, int turned) {
    const float *from = l ? pass->h[l] : pass->x;
    int stride = l ? net->wide[l] : net->widths[0];
    return turned ? sideways(from, stride) : plain(from, stride);
}

/* Every layer's weight transposed, [wide(out), wide(in)]. */
static void turn_all(const Network *net, float *out, const float *w) {
    for (int l = 1; l < net->layers; l++) /* nobody asks for the slope of the input */
        turn(out + net->weight[l], w + net->weight[l], net->wide[l], net->wide[l + 1]);
}

/* e = 0 where the unit h is off. */
static void masked(float *e, const float *h, int count) {
    for (int j = 0; j < count; j++) e[j] = h[j] > 0 ? e[j] : 0;
}

static void forward(const Network *net, Pass *pass, const float *w) {
    for (int l = 0; l < net->layers; l++) {
        int wide = net->wide[l + 1];
        float *h = pass->h[l + 1];
        multiply(h, wide, each_row(w + net->bias[l]), input(net, pass, l, 0), w + net->weight[l],
                 pass->count, net->widths[l]);
        for (int j = 0; j < pass->count * wide && l + 1 < net->layers; j++)
            h[j] = h[j] < 0 ? 0 : h[j]; /* what is no number stays none */
    }
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
                e[j] = pass->factor * (2 * miss / (pass->count * outputs));
            }
            continue;
        }
        float most = z[0], total = 0, right = 0;
        for (int j = 1; j < outputs; j++) most = z[j] > most ? z[j] : most;
        for (int j = 0; j < outputs; j++) total += odds[j] = expf(z[j] - most);
        for (int j = 0; j < outputs; j++) {
            odds[j] /= total;
            right += y[j] * (z[j] - most);
            e[j] = pass->factor * ((odds[j] - y[j]) / pass->count);
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
            q[j] = pass->factor * (net->classes ? odds[j] * (r[j] - mean) / pass->count
                                                : 2 * r[j] / (pass->count * outputs));
    }
}

/* to = base + what layer l's weight and bias get of slopes e by its outputs, for inputs `in`. */
static void add_slopes(const Network *net, int l, float *to, const float *base, Matrix in,
                       const float *e, int count) {
    static const float one = 1;
    int wide = net->wide[l + 1], w = net->weight[l], b = net->bias[l];
    multiply(to + w, wide, base ? plain(base + w, wide) : nothing(), in, e, net->widths[l], count);
    multiply(to + b, wide, base ? plain(base + b, wide) : nothing(), sideways(&one, 0), e, 1,
             count);
}

/* to = base (none: 0) + the loss's slope by the weights; turned: their transposes. */
static void backward(const Network *net, Pass *pass, const float *turned, const float *base,
                     float *to) {
    for (int l = net->layers - 1; l >= 0; l--) {
        const float *e = pass->e[l + 1];
        add_slopes(net, l, to, base, input(net, pass, l, 1), e, pass->count);
        if (l == 0) return;
        multiply(pass->e[l], net->wide[l], nothing(), plain(e, net->wide[l + 1]),
                 turned + net->weight[l], pass->count, net->widths[l + 1]);
        masked(pass->e[l], pass->h[l], pass->count * net->wide[l]);
    }
}

/* v += H v: how the slope changes as the weights w move along v; r, q: room like a pass's h, e. */
static void curvature(const Network *net, const Pass *pass, const float *w, const float *turned,
                      float *v, const float *turned_v, float *const *r, float *const *q) {
    int count = pass->count;
    for (int l = 0; l < net->layers; l++) {
        int wide = net->wide[l + 1];
        multiply(r[l + 1], wide, each_row(v + net->bias[l]), input(net, pass, l, 0),
                 v + net->weight[l], count, net->widths[l]);
        if (l)
            multiply(r[l + 1], wide, plain(r[l + 1], wide), plain(r[l], net->wide[l]),
                     w + net->weight[l], count, net->widths[l]);
        if (l + 1 < net->layers) masked(r[l + 1], pass->h[l + 1], count * wide);
    }
    judged_along(net, pass, r[net->layers], q[net->layers]);
    for (int l = net->layers - 1; l >= 0; l--) {
        int wide = net->wide[l + 1], before = net->wide[l], weight = net->weight[l];
        const float *e = pass->e[l + 1];
        add_slopes(net, l, v, v, input(net, pass, l, 1), q[l + 1], count);
        if (l == 0) return;
        multiply(v + weight, wide, plain(v + weight, wide), sideways(r[l], before), e,
                 net->widths[l], count);
        multiply(q[l], before, nothing(), plain(q[l + 1], wide), turned + weight, count,
                 net->widths[l + 1]);
        multiply(q[l], before, plain(q[l], before), plain(e, wide), turned_v + weight, count,
                 net->widths[l + 1]);
        masked(q[l], pass->h[l], count * before);
    }
}

/* -- what an operation is given ------------------------------------------------------------ */

enum { THETA, OWNER, STEPS, RATE, SUPPORT_X, SUPPORT_Y, QUERY_X, QUERY_Y, WEIGHT, INPUTS };

typedef struct { /* lanes, whose owners ascend */
    const float *floats[INPUTS];
    const int32_t *owner, *steps;
    int64_t places, count;
    int shots, queries, most; /* most: inner steps */
} Lanes;

/* By a call whose first inputs, so many, are of those above. */
static Lanes lanes_of(Call *call, const Network *net, int inputs) {
    Lanes lanes = {0};
    for (int i = 0; i < inputs; i++) lanes.floats[i] = argument(call, i);
    lanes.owner = (const int32_t *)lanes.floats[OWNER];
    lanes.steps = (const int32_t *)lanes.floats[STEPS];
    lanes.places = extent(call, THETA, 0);
    lanes.count = extent(call, OWNER, 0);
    lanes.shots = (int)extent(call, SUPPORT_X, 1);
    lanes.queries = (int)extent(call, QUERY_X, 1);
    for (int64_t i = 0; i < lanes.count; i++)
        lanes.most = lanes.steps[i] > lanes.most ? lanes.steps[i] : lanes.most;
    if (sound(call) && extent(call, THETA, 1) != net->numbers)
        TF_SetStatus(call->status, TF_INVALID_ARGUMENT, "theta does not fit the widths");
    return lanes;
}

/* -- a lane -------------------------------------------------------------------------------- */

typedef struct { /* room for one lane's inner loop; kept by each thread, padding zero */
    Network net;
    int steps, shots, queries;
    float *floats; /* all there is, the rest lies in it */
    float **w, **turned;
    Pass *support, query;
    float *r[MOST_LAYERS + 1], *q[MOST_LAYERS + 1], *v, *turned_v, *sum;
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

/* A room for such lanes; null where memory ends. */
static Room *made(const Network *net, int steps, int shots, int queries) {
    size_t units = 0;
    for (int l = 1; l <= net->layers; l++) units += net->wide[l];
    size_t examples = (size_t)(steps + 1) * shots + queries; /* one more support's for r and q */
    size_t floats = (2 * (size_t)(steps + 1) + 3) * net->size +
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
    room->sum = cut(&next, net->size);
    return room;
}

/* This thread's room for such lanes; null once the call has failed, as for want of memory. */
static Room *room_for(Call *call, const Network *net, const Lanes *lanes) {
    static __thread Room *kept;
    if (!sound(call)) return NULL;
    if (kept && !memcmp(&kept->net, net, sizeof *net) && kept->steps >= lanes->most &&
        kept->shots == lanes->shots && kept->queries == lanes->queries)
        return kept;
    vacate(kept);
    kept = made(net, lanes->most, lanes->shots, lanes->queries);
    if (!kept) TF_SetStatus(call->status, TF_RESOURCE_EXHAUSTED, "no memory for an inner loop");
    return kept;
}

/* Gets lane i's examples ready, and its trial's weights, unless the lane before had the same. */
static void begin(Room *room, const Lanes *lanes, int64_t i) {
    const Network *net = &room->net;
    int inputs = net->widths[0], outputs = net->widths[net->layers];
    if (i == 0 || lanes->owner[i] != lanes->owner[i - 1]) {
        const float *theta = lanes->floats[THETA] + (size_t)lanes->owner[i] * net->numbers;
        rows(net, room->w[0], (float *)theta, taken);
        turn_all(net, room->turned[0], room->w[0]);
    }
    for (int step = 0; step < lanes->steps[i]; step++) {
        Pass *pass = &room->support[step];
        pass->x = lanes->floats[SUPPORT_X] + i * lanes->shots * inputs;
        pass->y = lanes->floats[SUPPORT_Y] + i * lanes->shots * outputs;
        pass->factor = -lanes->floats[RATE][i];
    }
    room->query.x = lanes->floats[QUERY_X] + i * lanes->queries * inputs;
}

/* w[step + 1] from w[step]. */
static void advance(Room *room, int step) {
    const Network *net = &room->net;
    Pass *pass = &room->support[step];
    forward(net, pass, room->w[step]);
    judged(net, pass);
    if (step) turn_all(net, room->turned[step], room->w[step]);
    backward(net, pass, room->turned[step], room->w[step], room->w[step + 1]);
}

/* The query loss of lane i after adaptation; its slope by the weights before is left in v. */
static float learnt_from(Room *room, const Lanes *lanes, int64_t i) {
    const Network *net = &room->net;
    int steps = lanes->steps[i];
    begin(room, lanes, i);
    for (int step = 0; step < steps; step++) advance(room, step);
    room->query.y = lanes->floats[QUERY_Y] + i * lanes->queries * net->widths[net->layers];
    room->query.factor = 1;
    forward(net, &room->query, room->w[steps]);
    float loss = judged(net, &room->query);
    if (steps) turn_all(net, room->turned[steps], room->w[steps]);
    backward(net, &room->query, room->turned[steps], NULL, room->v);
    for (int step = steps - 1; step >= 0 && !net->first_order; step--) {
        turn_all(net, room->turned_v, room->v);
        curvature(net, &room->support[step], room->w[step], room->turned[step], room->v,
                  room->turned_v, room->r, room->q);
    }
    return loss;
}

/* -- the operations ------------------------------------------------------------------------ */

/* Gradients [place, number] and losses [place]. */
static void gradients(Room *room, const Lanes *lanes, float *gradient, float *loss) {
    const Network *net = &room->net;
    float *sum = room->sum;
    memset(gradient, 0, lanes->places * net->numbers * sizeof(float));
    memset(loss, 0, lanes->places * sizeof(float));
    for (int64_t i = 0; i < lanes->count; i++) {
        int owner = lanes->owner[i];
        float weight = lanes->floats[WEIGHT][i];
        if (i == 0 || owner != lanes->owner[i - 1]) memset(sum, 0, net->size * sizeof(float));
        loss[owner] += weight * learnt_from(room, lanes, i);
        for (int j = 0; j < net->size; j++) sum[j] += weight * room->v[j];
        if (i + 1 == lanes->count || lanes->owner[i + 1] != owner)
            rows(net, sum, gradient + (size_t)owner * net->numbers, given);
    }
}

/* Answers [lane, 1, query, output] of the adapted weights; of all in their course [lane, step, …]. */
static void answers(Room *room, const Lanes *lanes, int course, float *answer) {
    const Network *net = &room->net;
    int last = net->layers, outputs = net->widths[last];
    for (int64_t i = 0; i < lanes->count; i++) {
        begin(room, lanes, i);
        for (int step = 0; step <= lanes->steps[i]; step++) {
            if (course || step == lanes->steps[i]) {
                forward(net, &room->query, room->w[step]);
                for (int k = 0; k < lanes->queries; k++, answer += outputs)
                    taken(answer, room->query.h[last] + k * net->wide[last], outputs);
            }
            if (step < lanes->steps[i]) advance(room, step);
        }
    }
}

static void compute_gradients(void *kernel, TF_OpKernelContext *context) {
    const Network *net = kernel;
    Call call = begun(context);
    Lanes lanes = lanes_of(&call, net, INPUTS);
    Room *room = room_for(&call, net, &lanes);
    const int64_t shape[] = {lanes.places, net->numbers};
    float *gradient = result(&call, 0, TF_FLOAT, 2, shape);
    float *loss = result(&call, 1, TF_FLOAT, 1, shape);
    if (sound(&call)) gradients(room, &lanes, gradient, loss);
    ended(&call);
}

static void compute_either(TF_OpKernelContext *context, const Network *net, int course) {
    Call call = begun(context);
    Lanes lanes = lanes_of(&call, net, QUERY_X + 1);
    Room *room = room_for(&call, net, &lanes);
    for (int64_t i = 0; i < lanes.count && course; i++)
        if (lanes.steps[i] != lanes.most)
            TF_SetStatus(call.status, TF_INVALID_ARGUMENT, "lanes take different numbers of steps");
    const int64_t shape[] = {lanes.count, course ? lanes.most + 1 : 1, lanes.queries,
                             net->widths[net->layers]};
    float *answer = result(&call, 0, TF_FLOAT, 4, shape);
    if (sound(&call)) answers(room, &lanes, course, answer);
    ended(&call);
}

static void compute_answers(void *net, TF_OpKernelContext *context) {
    compute_either(context, net, 0);
}

static void compute_course(void *net, TF_OpKernelContext *context) {
    compute_either(context, net, 1);
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
        TF_SetStatus(status, TF_INVALID_ARGUMENT, "too many layers, or none");
    }
    if (TF_GetCode(status) != TF_OK) TF_OpKernelConstruction_Failure(context, status);
    TF_DeleteStatus(status);
    return net;
}

static void discard(void *net) { free(net); }

static const char *const ATTRIBUTES[] = {"widths: list(int)", "classes: bool", "first_order: bool",
                                         NULL};
#define LEARNT_FROM "theta: float", "owner: int32", "steps: int32", "rate: float", \
                    "support_x: float", "support_y: float", "query_x: float"
static const char *const JUDGED[] = {LEARNT_FROM, "query_y: float", "weight: float", NULL};
static const char *const ASKED[] = {LEARNT_FROM, NULL};
static const char *const GRADIENTS[] = {"gradient: float", "loss: float", NULL};
static const char *const ANSWERS[] = {"answers: float", NULL};

__attribute__((constructor)) static void enrolled(void) {
    enroll(&(Operation){"MamlSweepMlpGradient", ATTRIBUTES, JUDGED, GRADIENTS, create,
                        compute_gradients, discard});
    enroll(&(Operation){"MamlSweepMlpAnswers", ATTRIBUTES, ASKED, ANSWERS, create,
                        compute_answers, discard});
    enroll(&(Operation){"MamlSweepMlpCourse", ATTRIBUTES, ASKED, ANSWERS, create,
                        compute_course, discard});
}
