/* How a function in C becomes an operation of TensorFlow, by its C interface. */
#ifndef MAML_SWEEP_OPERATION_H
#define MAML_SWEEP_OPERATION_H

#include <stdint.h>

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

typedef struct { /* lists end with a null */
    const char *name;
    const char *const *attributes, *const *inputs, *const *outputs; /* "name: type" */
    void *(*create)(TF_OpKernelConstruction *);
    void (*compute)(void *kernel, TF_OpKernelContext *);
    void (*discard)(void *kernel);
} Operation;

static void enroll(const Operation *operation) {
    TF_Status *status = TF_NewStatus();
    TF_OpDefinitionBuilder *builder = TF_NewOpDefinitionBuilder(operation->name);
    for (const char *const *each = operation->attributes; *each; each++)
        TF_OpDefinitionBuilderAddAttr(builder, *each);
    for (const char *const *each = operation->inputs; *each; each++)
        TF_OpDefinitionBuilderAddInput(builder, *each);
    for (const char *const *each = operation->outputs; *each; each++)
        TF_OpDefinitionBuilderAddOutput(builder, *each);
    TF_RegisterOpDefinition(builder, status);
    TF_KernelBuilder *kernel = TF_NewKernelBuilder(operation->name, "CPU", operation->create,
                                                   operation->compute, operation->discard);
    TF_RegisterKernelBuilder(operation->name, kernel, status);
    TF_DeleteStatus(status);
}

enum { MOST_TENSORS = 24 };

typedef struct { /* one call of a kernel; once its status is bad, nothing more is asked */
    TF_OpKernelContext *context;
    TF_Status *status;
    TF_Tensor *inputs[MOST_TENSORS], *outputs[MOST_TENSORS];
} Call;

static Call begun(TF_OpKernelContext *context) {
    return (Call){.context = context, .status = TF_NewStatus()};
}

static int sound(const Call *call) { return TF_GetCode(call->status) == TF_OK; }

/* An input's numbers. */
static const void *argument(Call *call, int index) {
    if (sound(call)) TF_GetInput(call->context, index, &call->inputs[index], call->status);
    return sound(call) ? TF_TensorData(call->inputs[index]) : NULL;
}

/* Of an input asked for. */
static int64_t extent(const Call *call, int index, int axis) {
    return sound(call) ? TF_Dim(call->inputs[index], axis) : 0;
}

/* An output's numbers, of four bytes each; shape: `axes` extents. */
static void *result(Call *call, int index, TF_DataType type, int axes, const int64_t *shape) {
    size_t bytes = 4;
    for (int axis = 0; axis < axes; axis++) bytes *= shape[axis];
    if (sound(call))
        call->outputs[index] =
            TF_AllocateOutput(call->context, index, type, shape, axes, bytes, call->status);
    return sound(call) ? TF_TensorData(call->outputs[index]) : NULL;
}

static void ended(Call *call) {
    if (!sound(call)) TF_OpKernelContext_Failure(call->context, call->status);
    for (int i = 0; i < MOST_TENSORS; i++) {
        if (call->inputs[i]) TF_DeleteTensor(call->inputs[i]);
        if (call->outputs[i]) TF_DeleteTensor(call->outputs[i]);
    }
    TF_DeleteStatus(call->status);
}

#endif
