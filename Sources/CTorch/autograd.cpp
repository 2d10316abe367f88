// Gradients.
#include <algorithm>

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
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

namespace {

/// The place of a recomputed part in the graph.
struct Checkpoint final : torch::autograd::Node {
  std::vector<at::Tensor> inputs;
  ct_recompute recompute;
  std::shared_ptr<void> context;

  torch::autograd::variable_list apply(torch::autograd::variable_list &&gradients) override {
    torch::autograd::variable_list results(inputs.size());
    TORCH_CHECK(context, "A checkpointed part of the graph was released by an earlier backward pass.");
    TORCH_CHECK(!at::GradMode::is_enabled(), "A checkpointed part of the graph has no second derivative.");
    if (!gradients[0].defined()) return results;
    at::AutoGradMode recording(true);
    std::vector<at::Tensor> stand_ins, wanted;
    std::vector<size_t> places;
    for (size_t i = 0; i < inputs.size(); i++) {
      const auto &input = inputs[i];
      stand_ins.push_back(input.requires_grad() && !input.is_leaf() ? input.detach().set_requires_grad(true) : input);
      // A leaf that is there twice gets its whole gradient once; two stand-ins have a part each.
      const auto is_same = [&](const at::Tensor &other) { return other.is_same(stand_ins.back()); };
      if (!input.requires_grad() || std::any_of(wanted.begin(), wanted.end(), is_same)) continue;
      wanted.push_back(stand_ins.back());
      places.push_back(i);
    }
    std::vector<ct_tensor> handles;
    for (auto &tensor : stand_ins) handles.push_back(reinterpret_cast<ct_tensor>(&tensor));
    ct_tensor out = nullptr;
    const auto status = recompute(context.get(), handles.data(), static_cast<int32_t>(handles.size()), &out);
    TORCH_CHECK(status == 0 && out, "A checkpointed part of the graph could not be computed again: ", ct_last_error());
    std::unique_ptr<at::Tensor> value(reinterpret_cast<at::Tensor *>(out));
    const auto found = torch::autograd::grad({*value}, wanted, {gradients[0]}, /*retain_graph=*/false,
                                             /*create_graph=*/false, /*allow_unused=*/true);
    for (size_t i = 0; i < places.size(); i++) results[places[i]] = found[i];
    return results;
  }

  void release_variables() override {
    inputs.clear();
    context.reset();
  }
};

/// A new node, owned as this libtorch owns nodes: by a shared_ptr in torch 2.11, by an intrusive_ptr later.
template <class Node, class Pointer = decltype(torch::autograd::Edge::function)>
Pointer owned(Node *&node) {
  if constexpr (std::is_same_v<Pointer, std::shared_ptr<torch::autograd::Node>>) {
    node = new Node;
    return Pointer(node);
  } else {
    auto pointer = c10::make_intrusive<Node>();
    node = pointer.get();
    return pointer;
  }
}

}  // namespace

ct_status ct_checkpoint(ct_tensor value, const ct_tensor *inputs, int32_t count, ct_recompute recompute, void *context,
                        void (*release)(void *), ct_tensor *out) {
  return checked([&] {
    Checkpoint *node = nullptr;
    const auto owner = owned(node);
    node->context = std::shared_ptr<void>(context, release);
    node->recompute = recompute;
    for (int32_t i = 0; i < count; i++) node->inputs.push_back(ref(inputs[i]));
    node->set_next_edges(torch::autograd::collect_next_edges(node->inputs));
    auto result = ref(value).detach();
    torch::autograd::set_history(result, owner);
    *out = wrap(result);
  });
}
