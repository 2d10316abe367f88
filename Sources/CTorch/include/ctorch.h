// The C ABI over libtorch: the only header that the Swift side sees, and only the operations that it uses.
//
// Every function returns a status: 0, or 1 after a failure whose message `ct_last_error` gives. Results go to out-parameters;
// `ct_tensor *out` is a NEW tensor that the caller owns and frees with `ct_tensor_free`; tensors passed as arguments are
// BORROWED. A nullable tensor argument stands for "none". No exception crosses this border.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ct_tensor_opaque *ct_tensor;
typedef struct ct_generator_opaque *ct_generator;
typedef struct ct_stream_opaque *ct_stream;
typedef struct ct_guard_opaque *ct_guard;
typedef struct ct_archive_opaque *ct_archive;
typedef struct ct_archive_writer_opaque *ct_archive_writer;
typedef int32_t ct_status;
#define CT_API __attribute__((warn_unused_result)) ct_status

// Element types, in the order of `DType` on the Swift side.
enum {
  CT_FLOAT32, CT_FLOAT16, CT_BFLOAT16, CT_FLOAT64, CT_INT64, CT_INT32, CT_INT16, CT_INT8, CT_UINT8, CT_BOOL,
  CT_FLOAT8_E4M3, CT_FLOAT8_E5M2, CT_COMPLEX64
};
// Device kinds.
enum { CT_CPU, CT_CUDA, CT_MPS, CT_META };
typedef struct { int32_t kind; int32_t index; } ct_device;

const char *_Nonnull ct_last_error(void);
// What a callback that fails leaves as its message.
void ct_set_last_error(const char *_Nonnull message);
const char *_Nonnull ct_torch_version(void);

// MARK: Devices, threads, memory
CT_API ct_load_cuda(const char *_Nullable library);        // dlopen of the CUDA backend; nothing happens when it is loaded
CT_API ct_device_count(int32_t kind, int32_t *_Nonnull count);
CT_API ct_synchronize(ct_device device);
CT_API ct_device_memory(ct_device device, int64_t *_Nonnull allocated, int64_t *_Nonnull peak, int64_t *_Nonnull reserved);
CT_API ct_reset_peak_memory(ct_device device);
CT_API ct_release_cached_memory(ct_device device);
CT_API ct_set_threads(int32_t threads);
int32_t ct_threads(void);
// Makes the C library keep freed memory for the next tensor: glibc maps and unmaps every large one, and touching fresh pages costs more
// than many an operation on them. Called once, before the first tensor; resident memory then stays at its peak. False without glibc.
bool ct_keep_freed_memory(void);
bool ct_cpu_has_bf16(void);                                // the fused bf16 kernels run on this processor
bool ct_fused_kernels(void);                               // they do, and nobody has switched the kernels off
void ct_set_fused_kernels(bool on);                        // those of all devices, for the whole process
void ct_set_tf32(bool allowed);

// MARK: Guards: thread-local modes; leave in the reverse order of entering, on the same thread
CT_API ct_grad_mode_enter(bool enabled, ct_guard _Nullable *_Nonnull out);
CT_API ct_inference_mode_enter(bool enabled, ct_guard _Nullable *_Nonnull out);
CT_API ct_stream_enter(ct_stream _Nonnull stream, ct_guard _Nullable *_Nonnull out);
void ct_guard_leave(ct_guard _Nonnull guard);
bool ct_grad_enabled(void);
CT_API ct_stream_new(ct_device device, ct_stream _Nullable *_Nonnull out);
CT_API ct_stream_current(ct_device device, ct_stream _Nullable *_Nonnull out);
CT_API ct_stream_wait(ct_stream _Nonnull waiting, ct_stream _Nonnull awaited);
CT_API ct_stream_synchronize(ct_stream _Nonnull stream);
CT_API ct_record_stream(ct_tensor _Nonnull t, ct_stream _Nonnull stream);
void ct_stream_free(ct_stream _Nonnull stream);

// MARK: Life of a tensor
typedef ct_tensor _Nullable *_Nonnull ct_out;
typedef ct_tensor _Nonnull ct_in;
typedef ct_tensor _Nullable ct_opt;
typedef const intptr_t *_Nullable ct_ints;

void ct_tensor_free(ct_in t);
int32_t ct_rank(ct_in t);
CT_API ct_size(ct_in t, intptr_t dim, intptr_t *_Nonnull out);
CT_API ct_stride(ct_in t, intptr_t dim, intptr_t *_Nonnull out);
void ct_sizes(ct_in t, intptr_t *_Nonnull out);            // writes ct_rank(t) numbers
intptr_t ct_count(ct_in t);
int32_t ct_dtype(ct_in t);
ct_device ct_tensor_device(ct_in t);
bool ct_is_contiguous(ct_in t);
CT_API ct_from_data(const void *_Nullable data, int32_t dtype, ct_ints sizes, int32_t rank, ct_out out);  // copies
// Shares `data` until the tensor and all its views are gone, then calls `release(context)`. Must be aligned for the type.
CT_API ct_from_memory(void *_Nonnull data, int32_t dtype, ct_ints sizes, int32_t rank, void *_Nullable context,
                      void (*_Nonnull release)(void *_Nullable), ct_out out);
CT_API ct_to_host(ct_in t, void *_Nonnull data, size_t bytes);  // copies all elements in row-major order
// The address of the first element of a contiguous tensor on the CPU, valid as long as the tensor.
CT_API ct_data(ct_in t, const void *_Nullable *_Nonnull out);
CT_API ct_item(ct_in t, double *_Nonnull out);
CT_API ct_item_int(ct_in t, int64_t *_Nonnull out);
CT_API ct_describe(ct_in t, char *_Nonnull buffer, size_t capacity);
bool ct_shares_storage(ct_in a, ct_in b);
// MARK: Zip archives of torch.save; record names are without the archive's folder
CT_API ct_archive_open(const char *_Nonnull path, ct_archive _Nullable *_Nonnull out);
void ct_archive_free(ct_archive _Nonnull a);
// Where a record stands in the file: its zip header, its data, and the data's size uncompressed; nothing unless `found`.
CT_API ct_archive_record(ct_archive _Nonnull a, const char *_Nonnull name, bool *_Nonnull found, int64_t *_Nonnull header,
                         int64_t *_Nonnull offset, int64_t *_Nonnull size);
CT_API ct_archive_read(ct_archive _Nonnull a, const char *_Nonnull name, void *_Nonnull buffer, int64_t size);
// `write` returns how many bytes it took; fewer than it was given is a failure.
CT_API ct_archive_writer_new(void *_Nullable context,
                             size_t (*_Nonnull write)(void *_Nullable context, const void *_Nullable data, size_t size),
                             ct_archive_writer _Nullable *_Nonnull out);
CT_API ct_archive_write(ct_archive_writer _Nonnull w, const char *_Nonnull name, const void *_Nullable data, int64_t size);
CT_API ct_archive_finish(ct_archive_writer _Nonnull w);
void ct_archive_writer_free(ct_archive_writer _Nonnull w);

// MARK: Creation
CT_API ct_empty(ct_ints sizes, int32_t rank, int32_t dtype, ct_device device, ct_out out);
CT_API ct_full(ct_ints sizes, int32_t rank, double value, int32_t dtype, ct_device device, ct_out out);
CT_API ct_arange(double start, double end, double step, int32_t dtype, ct_device device, ct_out out);
CT_API ct_linspace(double start, double end, int64_t steps, int32_t dtype, ct_device device, ct_out out);
CT_API ct_generator_new(ct_device device, uint64_t seed, ct_generator _Nullable *_Nonnull out);
CT_API ct_generator_state(ct_generator _Nonnull g, ct_out out);
CT_API ct_generator_set_state(ct_generator _Nonnull g, ct_in state);
void ct_generator_free(ct_generator _Nonnull g);
CT_API ct_randn(ct_ints sizes, int32_t rank, ct_generator _Nonnull g, int32_t dtype, ct_device device, ct_out out);
CT_API ct_rand(ct_ints sizes, int32_t rank, ct_generator _Nonnull g, int32_t dtype, ct_device device, ct_out out);
CT_API ct_randint(int64_t low, int64_t high, ct_ints sizes, int32_t rank, ct_generator _Nonnull g, ct_device device, ct_out out);
CT_API ct_randperm(int64_t n, ct_generator _Nonnull g, ct_device device, ct_out out);

// MARK: Conversion and movement
CT_API ct_to(ct_in t, int32_t dtype, ct_device device, bool copy, ct_out out);
CT_API ct_contiguous(ct_in t, ct_out out);
CT_API ct_channels_last_3d(ct_in t, ct_out out);
CT_API ct_clone(ct_in t, ct_out out);
CT_API ct_pin_memory(ct_in t, ct_out out);                   // a copy in host memory that a GPU reads by itself
CT_API ct_detach(ct_in t, ct_out out);
CT_API ct_alias(ct_in t, ct_out out);                      // another handle of the same tensor

// MARK: Element-wise, one operand
#define CT_UNARY(X) \
  X(neg) X(abs) X(exp) X(log) X(sqrt) X(rsqrt) X(sin) X(cos) X(tanh) X(silu) X(relu) X(square) X(reciprocal) \
  X(floor) X(round) X(isnan) X(isfinite) X(logical_not)
#define CT_DECLARE(name) CT_API ct_##name(ct_in a, ct_out out);
CT_UNARY(CT_DECLARE)
#undef CT_DECLARE
CT_API ct_gelu(ct_in a, bool tanh_form, ct_out out);
CT_API ct_clamp(ct_in a, double low, double high, ct_out out);

// MARK: Element-wise, two operands (broadcast), and with a number
#define CT_BINARY(X) X(add) X(sub) X(mul) X(div) X(eq) X(lt) X(le) X(gt) X(ge)
#define CT_DECLARE(name) \
  CT_API ct_##name(ct_in a, ct_in b, ct_out out); \
  CT_API ct_##name##_number(ct_in a, double b, ct_out out);
CT_BINARY(CT_DECLARE)
#undef CT_DECLARE
CT_API ct_logical_and(ct_in a, ct_in b, ct_out out);
CT_API ct_logical_or(ct_in a, ct_in b, ct_out out);
CT_API ct_number_sub(double a, ct_in b, ct_out out);
CT_API ct_number_div(double a, ct_in b, ct_out out);
CT_API ct_matmul(ct_in a, ct_in b, ct_out out);
CT_API ct_masked_fill(ct_in a, ct_in mask, double value, ct_out out);

// MARK: In place (autograd refuses what would corrupt a saved value)
CT_API ct_copy_(ct_in a, ct_in source, bool waits);           // from pinned memory to a GPU it need not wait
CT_API ct_add_(ct_in a, ct_in b, double alpha);
CT_API ct_mul_(ct_in a, ct_in b);
CT_API ct_div_(ct_in a, ct_in b);
CT_API ct_add_number_(ct_in a, double b);
CT_API ct_mul_number_(ct_in a, double b);
CT_API ct_fill_(ct_in a, double value);
CT_API ct_normal_(ct_in a, double mean, double deviation, ct_generator _Nonnull g);
CT_API ct_uniform_(ct_in a, double low, double high, ct_generator _Nonnull g);

// MARK: Reductions; rank 0 of dims means all of them
CT_API ct_sum(ct_in a, ct_ints dims, int32_t count, bool keep, ct_out out);
CT_API ct_mean(ct_in a, ct_ints dims, int32_t count, bool keep, ct_out out);
CT_API ct_variance(ct_in a, ct_ints dims, int32_t count, bool unbiased, bool keep, ct_out out);
CT_API ct_amax(ct_in a, ct_ints dims, int32_t count, bool keep, ct_out out);
CT_API ct_amin(ct_in a, ct_ints dims, int32_t count, bool keep, ct_out out);
CT_API ct_argmax(ct_in a, intptr_t dim, bool keep, ct_out out);
CT_API ct_argmin(ct_in a, intptr_t dim, bool keep, ct_out out);
CT_API ct_norm(ct_in a, double p, ct_ints dims, int32_t count, bool keep, ct_out out);
CT_API ct_all_equal(ct_in a, ct_in b, bool *_Nonnull out);
CT_API ct_all_finite(ct_in a, bool *_Nonnull out);          // numbers without infinities or NaN; true for integers

// MARK: Shape
CT_API ct_reshape(ct_in a, ct_ints sizes, int32_t rank, ct_out out);
CT_API ct_permute(ct_in a, ct_ints dims, int32_t rank, ct_out out);
CT_API ct_transpose(ct_in a, intptr_t d0, intptr_t d1, ct_out out);
CT_API ct_as_strided(ct_in a, ct_ints sizes, ct_ints strides, int32_t rank, ct_out out);
CT_API ct_expand(ct_in a, ct_ints sizes, int32_t rank, ct_out out);
CT_API ct_unsqueeze(ct_in a, intptr_t dim, ct_out out);
CT_API ct_squeeze(ct_in a, intptr_t dim, ct_out out);
CT_API ct_flatten(ct_in a, intptr_t start, intptr_t end, ct_out out);
CT_API ct_unflatten(ct_in a, intptr_t dim, ct_ints sizes, int32_t rank, ct_out out);
CT_API ct_narrow(ct_in a, intptr_t dim, intptr_t start, intptr_t length, ct_out out);
CT_API ct_slice(ct_in a, intptr_t dim, intptr_t start, intptr_t end, intptr_t step, ct_out out);
CT_API ct_select(ct_in a, intptr_t dim, intptr_t index, ct_out out);
CT_API ct_index_select(ct_in a, intptr_t dim, ct_in index, ct_out out);
CT_API ct_gather(ct_in a, intptr_t dim, ct_in index, ct_out out);
CT_API ct_cat(const ct_tensor _Nonnull *_Nonnull list, int32_t count, intptr_t dim, ct_out out);
CT_API ct_stack(const ct_tensor _Nonnull *_Nonnull list, int32_t count, intptr_t dim, ct_out out);
CT_API ct_pad(ct_in a, ct_ints widths, int32_t count, double value, ct_out out);  // constant; last dimension first
CT_API ct_pad_replicate(ct_in a, ct_ints widths, int32_t count, ct_out out);
CT_API ct_flip(ct_in a, ct_ints dims, int32_t count, ct_out out);
CT_API ct_roll(ct_in a, intptr_t shift, intptr_t dim, ct_out out);

// MARK: Neural-network operations
CT_API ct_linear(ct_in x, ct_in weight, ct_opt bias, ct_out out);
// x [rows, in] and weight [out, in] in float8 e4m3, a factor in fp32 for each: x·weightᵀ times both factors, plus bias, in bf16
CT_API ct_scaled_product(ct_in x, ct_in weight, ct_in x_factor, ct_in weight_factor, ct_opt bias, ct_out out);
// x in float8 e4m3 under one scale, and in fp32 the number that undoes the scaling
CT_API ct_quantize_float8(ct_in x, ct_out values, ct_out factor);
CT_API ct_conv1d(ct_in x, ct_in weight, ct_opt bias, int64_t stride, int64_t padding, int64_t groups, ct_out out);
CT_API ct_conv2d(ct_in x, ct_in weight, ct_opt bias, const intptr_t *_Nonnull stride, const intptr_t *_Nonnull padding, ct_out out);
CT_API ct_conv3d(ct_in x, ct_in weight, ct_opt bias, const intptr_t *_Nonnull stride, const intptr_t *_Nonnull padding, ct_out out);
CT_API ct_layer_norm(ct_in x, intptr_t width, ct_opt weight, ct_opt bias, double eps, ct_out out);
CT_API ct_group_norm(ct_in x, int64_t groups, ct_opt weight, ct_opt bias, double eps, ct_out out);
CT_API ct_embedding(ct_in table, ct_in ids, ct_out out);
CT_API ct_softmax(ct_in x, intptr_t dim, ct_out out);
// q, k, v: [B, H, L, D]; mask: boolean (true = attend) or additive
CT_API ct_scaled_dot_product_attention(ct_in q, ct_in k, ct_in v, ct_opt mask, double scale, ct_out out);
CT_API ct_interpolate_linear(ct_in x, int64_t length, bool align_corners, ct_out out);              // [B, C, L]
CT_API ct_interpolate_nearest(ct_in x, int64_t height, int64_t width, ct_out out);                  // [B, C, H, W]
CT_API ct_interpolate_bilinear(ct_in x, int64_t height, int64_t width, bool antialias, ct_out out);  // [B, C, H, W]
CT_API ct_weight_norm(ct_in v, ct_in g, intptr_t dim, ct_out out);
CT_API ct_cross_entropy(ct_in logits, ct_in target, double label_smoothing, ct_out out);
CT_API ct_dropout(ct_in x, double p, ct_out out);

// MARK: Fused kernels (Kernels/): each equals its composition in compositions.cpp
CT_API ct_attention(ct_in q, ct_in k, ct_in v, double scale, ct_out out);                           // [B, L, H, D]
CT_API ct_attention_workspace(int64_t queries, int64_t keys, int64_t heads, int64_t width, int32_t dtype,
                              int64_t *_Nonnull bytes);                                             // on the CPU
CT_API ct_norm_modulate(ct_in x, ct_in shift, ct_in scale, double eps, ct_out out);                 // [B, F·T, C]; [B, F, C]
CT_API ct_rms_norm(ct_in x, ct_in weight, double eps, ct_out out);                                  // [..., C]
CT_API ct_rms_norm_rope(ct_in x, ct_in weight, ct_in factors, double eps, int64_t heads, ct_opt destination, ct_out out);
CT_API ct_rotate_(ct_in x, ct_in factors);                                                          // [B, L, H, D]
CT_API ct_gate_residual(ct_in x, ct_in y, ct_in gate, bool in_place, ct_out out);                   // x + y·gate
CT_API ct_gelu_tanh_(ct_in x);
bool ct_prefers_packed_linear(void);
CT_API ct_pack_linear(ct_in weight, ct_out out);
CT_API ct_linear_packed(ct_in x, ct_in packed, int64_t features, ct_opt bias, bool gelu_tanh, ct_out out);
CT_API ct_rms_norm_silu(ct_in x, ct_in gamma, ct_out out);                                          // [B, C, T, H, W]
// The same behind the `count` frames before x, which are normalised already; zeros without them. [B, C, count + T, H, W]
CT_API ct_rms_norm_silu_after(ct_in x, ct_in gamma, ct_opt history, int64_t count, ct_out out);

// MARK: Gradients
CT_API ct_set_requires_grad(ct_in t, bool enabled);
bool ct_requires_grad(ct_in t);
bool ct_is_leaf(ct_in t);
CT_API ct_backward(ct_in t, ct_opt gradient, bool retain_graph);
CT_API ct_grad(ct_in t, ct_tensor _Nullable *_Nonnull out);  // out stays null where there is no gradient
CT_API ct_set_grad(ct_in t, ct_opt gradient);
// Writes `input_count` new tensors, null where an input does not take part.
CT_API ct_gradients(const ct_tensor _Nonnull *_Nonnull outputs, int32_t output_count,
                    const ct_tensor _Nonnull *_Nonnull inputs, int32_t input_count,
                    const ct_tensor _Nullable *_Nullable output_gradients, bool retain_graph, bool create_graph,
                    ct_tensor _Nullable *_Nonnull out);
// Gives `value`, computed from `inputs` without gradients, a history: when its gradient is asked for, `recompute` computes it
// again with gradients. It is given stand-ins for the inputs that are not leaves (borrowed) and writes a NEW tensor, or sets a
// message and returns 1; it may run on another thread. `release` is called once, when the history is gone.
typedef ct_status (*ct_recompute)(void *_Nonnull context, const ct_tensor _Nonnull *_Nonnull inputs, int32_t count,
                                  ct_tensor _Nullable *_Nonnull out);
CT_API ct_checkpoint(ct_in value, const ct_tensor _Nonnull *_Nonnull inputs, int32_t count, ct_recompute _Nonnull recompute,
                     void *_Nonnull context, void (*_Nonnull release)(void *_Nonnull context),
                     ct_tensor _Nullable *_Nonnull out);

// MARK: Optimisation
// Makes `t` a view of `data`, which has its type and shape: everything that holds the tensor sees the new storage.
CT_API ct_set_data(ct_in t, ct_in data);
// One AdamW step in place over `count` fp32 tensors of one device. `steps` hold the number of each one's updates, this one
// included, as one fp32 value on the same device.
CT_API ct_adamw_(int32_t count, const ct_tensor _Nonnull *_Nonnull parameters, const ct_tensor _Nonnull *_Nonnull gradients,
                 const ct_tensor _Nonnull *_Nonnull first_moments, const ct_tensor _Nonnull *_Nonnull second_moments,
                 const ct_tensor _Nonnull *_Nonnull steps, double rate, double beta1, double beta2, double decay, double eps);
// The sum of squares of all elements of all tensors, as one fp64 value on their device.
CT_API ct_sum_of_squares(const ct_tensor _Nonnull *_Nonnull list, int32_t count, ct_out out);

// MARK: Checksums
// CRC-32C of bytes that come after those whose sum is `before`; 0 for the first ones.
uint32_t ct_crc32c(uint32_t before, const void *_Nullable data, size_t size);

// MARK: Several processes
typedef struct ct_store_opaque *ct_store;                  // a connection to the store that rank 0 keeps
typedef struct ct_group_opaque *ct_group;
// Rank 0 (`is_host`) serves the store on the port, and waits for `size` ranks if that is not 0; the others connect.
CT_API ct_store_open(const char *_Nonnull host, int32_t port, bool is_host, int32_t size, int64_t timeout_ms,
                     ct_store _Nullable *_Nonnull out);
CT_API ct_store_set(ct_store _Nonnull store, const char *_Nonnull key, const void *_Nullable value, size_t size);
// Waits until the key is there, at most the store's timeout; `size` is the value's, of which at most `capacity` are written.
CT_API ct_store_get(ct_store _Nonnull store, const char *_Nonnull key, void *_Nonnull buffer, size_t capacity,
                    size_t *_Nonnull size);
void ct_store_free(ct_store _Nonnull store);
// Gloo for the CPU, NCCL for CUDA, whose groups transfer tensors of the CPU by Gloo. Every rank makes the same calls in the same order;
// tensors are contiguous. An operation waits at most `timeout_ms`; without a deadline, transfers of the CPU's tensors for ever.
CT_API ct_group_new(ct_store _Nonnull store, ct_device device, int32_t rank, int32_t size, int64_t timeout_ms, bool has_deadline,
                    ct_group _Nullable *_Nonnull out);
CT_API ct_group_all_reduce(ct_group _Nonnull group, ct_in t, bool max);  // in place, the sum unless `max`
// Rank r of n gets the sums of the r-th of the n equal parts of `whole`, in place; the other parts are without meaning then.
CT_API ct_group_reduce_scatter(ct_group _Nonnull group, ct_in whole);
CT_API ct_group_all_gather(ct_group _Nonnull group, ct_in whole);  // the reverse: rank r gives the r-th part
CT_API ct_group_broadcast(ct_group _Nonnull group, ct_in t, int32_t from);
// From one rank to another; `out` is a NEW transfer under way, which keeps the tensor. The receiver's tensor has the sender's type
// and size. Gloo matches the two by their tags; NCCL has no tags and matches them in the order of the calls.
typedef struct ct_transfer_opaque *ct_transfer;
CT_API ct_group_send(ct_group _Nonnull group, ct_in t, int32_t to, int32_t tag, ct_transfer _Nullable *_Nonnull out);
CT_API ct_group_receive(ct_group _Nonnull group, ct_in t, int32_t from, int32_t tag, ct_transfer _Nullable *_Nonnull out);
// Waits for the end, at most the group's timeout. On a GPU the current stream waits and the caller does not.
CT_API ct_transfer_wait(ct_transfer _Nonnull transfer);
void ct_transfer_free(ct_transfer _Nonnull transfer);
void ct_group_free(ct_group _Nonnull group);
bool ct_has_nccl(void);                                    // whether the shim was built with NCCL's headers

#ifdef __cplusplus
}
#endif
