// What an optimiser does to lists of tensors.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>

#include "shim.h"

using namespace ct;

namespace {
std::vector<at::Tensor> list(const ct_tensor *tensors, int32_t count) {
  std::vector<at::Tensor> result;
  result.reserve(count);
  for (int32_t i = 0; i < count; i++) result.push_back(ref(tensors[i]));
  return result;
}
}  // namespace

ct_status ct_set_data(ct_tensor t, ct_tensor data) {
  return checked([&] {
    TORCH_CHECK(ref(t).sizes() == ref(data).sizes() && ref(t).options().type_equal(ref(data).options()),
                "a tensor takes over only data of its own type and shape");
    ref(t).set_data(ref(data));
  });
}

ct_status ct_adamw_(int32_t count, const ct_tensor *parameters, const ct_tensor *gradients, const ct_tensor *first_moments,
                    const ct_tensor *second_moments, const ct_tensor *steps, double rate, double beta1, double beta2,
                    double decay, double eps) {
  return checked([&] {
    at::NoGradGuard no_gradients;
    at::_fused_adamw_(list(parameters, count), list(gradients, count), list(first_moments, count),
                      list(second_moments, count), /*max_exp_avg_sqs=*/{}, list(steps, count), rate, beta1, beta2, decay,
                      eps, /*amsgrad=*/false, /*maximize=*/false);
  });
}

ct_status ct_sum_of_squares(const ct_tensor *tensors, int32_t count, ct_tensor *out) {
  return make(out, [&] {
    at::NoGradGuard no_gradients;
    if (count == 0) return at::zeros({}, at::kDouble);
    return at::stack(at::_foreach_norm(list(tensors, count), 2)).to(at::kDouble).square().sum();
  });
}
