// Gradients.
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/variable.h>

#include "shim.h"

using namespace ct;

ct_status ct_set_requires_grad(ct_tensor t, bool enabled) {
  return checked([&] { mut(t).set_requires_grad(enabled); });
}
bool ct_requires_grad(ct_tensor t) { return ref(t).requires_grad(); }
bool ct_is_leaf(ct_tensor t) { return ref(t).is_leaf(); }

ct_status ct_backward(ct_tensor t, ct_tensor gradient, bool retain_graph) {
  return checked([&] {
    torch::autograd::backward({ref(t)}, {gradient ? ref(gradient) : at::Tensor()}, retain_graph);
  });
}

ct_status ct_grad(ct_tensor t, ct_tensor *out) {
  return checked([&] {
    const auto &gradient = ref(t).grad();
    *out = gradient.defined() ? wrap(gradient) : nullptr;
  });
}

ct_status ct_set_grad(ct_tensor t, ct_tensor gradient) {
  return checked([&] { mut(t).mutable_grad() = gradient ? ref(gradient) : at::Tensor(); });
}

ct_status ct_gradients(const ct_tensor *outputs, int32_t output_count, const ct_tensor *inputs, int32_t input_count,
                       const ct_tensor *output_gradients, bool retain_graph, bool create_graph, ct_tensor *out) {
  return checked([&] {
    torch::autograd::variable_list roots, leaves, seeds;
    for (int32_t i = 0; i < output_count; i++) {
      roots.push_back(ref(outputs[i]));
      seeds.push_back(output_gradients && output_gradients[i] ? ref(output_gradients[i]) : at::Tensor());
    }
    for (int32_t i = 0; i < input_count; i++) leaves.push_back(ref(inputs[i]));
    const auto gradients =
        torch::autograd::grad(roots, leaves, seeds, retain_graph, create_graph, /*allow_unused=*/true);
    for (int32_t i = 0; i < input_count; i++) out[i] = gradients[i].defined() ? wrap(gradients[i]) : nullptr;
  });
}
