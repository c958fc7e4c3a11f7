/* What a meta-iteration does once it has its meta-gradients, as one operation of TensorFlow.
 *
 * Every trial takes its optimizer's step, if its loss and the step are sound; else it keeps what it
 * had, from then on. Mathematics and names are those of training/optimizers.py, whose numbers it
 * gives up to rounding.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "operation.h"

enum { /* inputs; theta and what follows are [place, parameter], all but `decayed` [place] */
    THETA,
    MOMENT1,
    MOMENT2,
    GRADIENT,
    DECAYED, /* [parameter] */
    ADAPTIVE,
    META_LR,
    BETA1,
    BETA2,
    EPSILON,
    WEIGHT_DECAY,
    NESTEROV,
    COSINE,
    CLIP,
    ITERATIONS,
    LOSS,
    MAX_LOSS, /* [] */
    ITERATION,
    DIVERGED,
    INPUTS
};

typedef struct { /* a trial's step, as numbers */
    float clip, beta1, fresh1, beta2, fresh2, unbiased1, unbiased2, epsilon, decay, rate;
    int adaptive, nesterov;
} Step;

/* The factor that brings a gradient's norm down to a limit. */
static float clip_scale(const float *gradient, int64_t count, float limit) {
    double square = 0;
    if (isinf(limit)) return 1;
    for (int64_t i = 0; i < count; i++) square += (double)gradient[i] * gradient[i];
    float norm = (float)sqrt(square);
    return norm > limit ? limit / norm : 1;
}

/* 1 - decay ** (iteration + 1). */
static float unbiased(float decay, int iteration) {
    return (float)(1 - pow(decay, (double)iteration + 1));
}

static Step step_of(const float *const *in, int64_t place, int iteration) {
    Step step = {.beta1 = in[BETA1][place],
                 .beta2 = in[BETA2][place],
                 .epsilon = in[EPSILON][place],
                 .decay = in[WEIGHT_DECAY][place],
                 .rate = in[META_LR][place],
                 .adaptive = in[ADAPTIVE][place] > 0,
                 .nesterov = in[NESTEROV][place] > 0};
    step.fresh1 = step.adaptive ? 1 - step.beta1 : 1;
    step.fresh2 = 1 - step.beta2;
    step.unbiased1 = unbiased(step.beta1, iteration);
    step.unbiased2 = unbiased(step.beta2, iteration);
    if (in[COSINE][place] > 0)
        step.rate *= (float)(0.5 * (1 + cos(M_PI * (iteration / (double)in[ITERATIONS][place]))));
    return step;
}

/* The step of `count` numbers into theta, moment1 and moment2; whether all are finite. */
static int moved(Step step, const float *restrict old, const float *restrict old1,
                 const float *restrict old2, const float *restrict gradient,
                 const float *restrict decayed, float *restrict theta, float *restrict moment1,
                 float *restrict moment2, int64_t count) {
    int bad = 0;
    for (int64_t i = 0; i < count; i++) {
        float g = gradient[i] * step.clip;
        float first = step.beta1 * old1[i] + step.fresh1 * g;
        float second = step.beta2 * old2[i] + step.fresh2 * (g * g);
        float scale = sqrtf(second / step.unbiased2) + step.epsilon;
        float plain = step.nesterov ? g + step.beta1 * first : first;
        float direction = step.adaptive ? first / (step.unbiased1 * scale) : plain;
        direction += step.decay * decayed[i] * old[i];
        float next = old[i] - step.rate * direction;
        theta[i] = next;
        moment1[i] = first;
        moment2[i] = second;
        bad |= !(fabsf(next + second) < INFINITY);
    }
    return !bad;
}

static void compute(void *kernel, TF_OpKernelContext *context) {
    (void)kernel;
    Call call = begun(context);
    const float *in[INPUTS];
    for (int i = 0; i < INPUTS; i++) in[i] = argument(&call, i);
    const int32_t *iteration = (const int32_t *)in[ITERATION];
    const int32_t *diverged = (const int32_t *)in[DIVERGED];
    int64_t places = extent(&call, THETA, 0), count = extent(&call, THETA, 1);
    const int64_t shape[] = {places, count};
    float *out[3];
    for (int i = 0; i < 3; i++) out[i] = result(&call, i, TF_FLOAT, 2, shape);
    int32_t *fallen = result(&call, 3, TF_INT32, 1, shape);
    for (int64_t place = 0; place < places && sound(&call); place++) {
        const float *from[GRADIENT + 1];
        float *to[3];
        for (int i = 0; i <= GRADIENT; i++) from[i] = in[i] + place * count;
        for (int i = 0; i < 3; i++) to[i] = out[i] + place * count;
        fallen[place] = diverged[place];
        if (diverged[place] < 0) { /* comparisons with what is no number are false */
            Step step = step_of(in, place, iteration[place]);
            step.clip = clip_scale(from[GRADIENT], count, in[CLIP][place]);
            if (in[LOSS][place] <= *in[MAX_LOSS] &&
                moved(step, from[THETA], from[MOMENT1], from[MOMENT2], from[GRADIENT],
                      in[DECAYED], to[0], to[1], to[2], count))
                continue;
            fallen[place] = iteration[place];
        }
        for (int i = 0; i < 3; i++) memcpy(to[i], from[i], count * sizeof(float));
    }
    ended(&call);
}

static const char *const NOTHING[] = {NULL};
static const char *const INPUT_NAMES[] = {
    "theta: float",    "moment1: float",  "moment2: float", "gradient: float",
    "decayed: float",  "adaptive: float", "meta_lr: float", "beta1: float",
    "beta2: float",    "epsilon: float",  "weight_decay: float", "nesterov: float",
    "cosine: float",   "clip: float",     "iterations: float",   "loss: float",
    "max_loss: float", "iteration: int32", "diverged: int32",    NULL};
static const char *const OUTPUT_NAMES[] = {"moved: float", "moved1: float", "moved2: float",
                                           "fallen: int32", NULL};

__attribute__((constructor)) static void enrolled(void) {
    enroll(&(Operation){"MamlSweepUpdate", NOTHING, INPUT_NAMES, OUTPUT_NAMES, NULL, compute,
                        NULL});
}
