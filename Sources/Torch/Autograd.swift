import CTorch

// Gradients, and the modes that turn their recording off.

extension Tensor {
  package var requiresGrad: Bool {
    get { ct_requires_grad(c) }
    nonmutating set { check(ct_set_requires_grad(c, newValue)) }
  }
  package var isLeaf: Bool { ct_is_leaf(c) }

  /// The gradient that `backward` gathered, or nil.
  package var grad: Tensor? {
    get {
      var pointer: ct_tensor?
      check(ct_grad(c, &pointer))
      return pointer.map(Tensor.init(owning:))
    }
    nonmutating set { check(ct_set_grad(c, newValue?.c)) }
  }

  /// Adds this tensor's gradient with respect to every leaf that requires one to that leaf's `grad`.
  package func backward(gradient: Tensor? = nil, retainGraph: Bool = false) {
    check(ct_backward(c, gradient?.c, retainGraph))
  }

  /// The same storage, outside the graph.
  package func detach() -> Tensor { Tensor { ct_detach(c, $0) } }

  /// The gradients of `outputs` with respect to `inputs`; nil for an input that takes no part. A graph of the gradients themselves
  /// needs the one that they came from: `createGraph` retains it.
  package static func gradients(
    of outputs: [Tensor], with inputs: [Tensor], outputGradients: [Tensor]? = nil, retainGraph: Bool = false,
    createGraph: Bool = false
  ) -> [Tensor?] {
    var results = [ct_tensor?](repeating: nil, count: inputs.count)
    withExtendedLifetime((outputs, inputs, outputGradients)) {
      check(
        ct_gradients(
          outputs.map(\.c), Int32(outputs.count), inputs.map(\.c), Int32(inputs.count), outputGradients?.map(\.c),
          retainGraph || createGraph, createGraph, &results))
    }
    return results.map { $0.map(Tensor.init(owning:)) }
  }
}

extension Tensor {
  /// `body(inputs)`, of which only the inputs are kept: where a gradient is asked for, the body runs again.
  ///
  /// Saves the memory of everything in between for the price of a second forward pass (activation checkpointing).
  /// - Parameters:
  ///   - inputs: every tensor with a gradient that the body uses. Parameters among them are used by the body itself; the others
  ///     it must take from its argument, where stand-ins come in their places.
  ///   - body: must not change its inputs, and gives the same value every time. On a GPU it runs again on another thread.
  package static func checkpointed(_ inputs: [Tensor], _ body: @escaping ([Tensor]) -> Tensor) -> Tensor {
    guard gradientsEnabled, inputs.contains(where: \.requiresGrad) else { return body(inputs) }
    let value = withGradients(false) { body(inputs) }
    let recomputation = Recomputation(body: body)
    return withExtendedLifetime((inputs, value)) {
      Tensor {
        ct_checkpoint(
          value.c, inputs.map(\.c), Int32(inputs.count),
          { context, pointers, count, out in
            let recomputation = Unmanaged<Recomputation>.fromOpaque(context).takeUnretainedValue()
            do {
              out.pointee = try recomputation.run(UnsafeBufferPointer(start: pointers, count: Int(count)))
              return 0
            } catch {
              ct_set_last_error("\(error)")
              return 1
            }
          }, Unmanaged.passRetained(recomputation).toOpaque(),
          { Unmanaged<Recomputation>.fromOpaque($0).release() }, $0)
      }
    }
  }

  /// What a checkpoint runs again.
  private final class Recomputation {
    private let body: ([Tensor]) -> Tensor

    init(body: @escaping ([Tensor]) -> Tensor) { self.body = body }

    /// A new handle of the value; `pointers` are borrowed.
    ///
    /// A failure goes through libtorch to who asked for the gradient: the scope that the checkpoint was made in may have ended.
    func run(_ pointers: UnsafeBufferPointer<ct_tensor>) throws -> ct_tensor? {
      try withTorchErrors {
        let inputs = pointers.map { pointer in Tensor { ct_alias(pointer, $0) } }
        let value = body(inputs)
        var copy: ct_tensor?
        check(ct_alias(value.c, &copy))
        return copy
      }
    }
  }
}

/// Runs `body` with the recording of gradients on or off. The mode belongs to the thread, so `body` cannot suspend.
package func withGradients<Result>(_ enabled: Bool, _ body: () throws -> Result) rethrows -> Result {
  try within({ ct_grad_mode_enter(enabled, $0) }, body)
}

/// Runs `body` without gradients and without the bookkeeping for them; its tensors can take no part in a graph later.
package func withInferenceMode<Result>(_ body: () throws -> Result) rethrows -> Result {
  try within({ ct_inference_mode_enter(true, $0) }, body)
}

/// Whether operations on this thread record gradients.
package var gradientsEnabled: Bool { ct_grad_enabled() }

/// Enters a thread-local mode of the shim around `body`.
func within<Result>(_ enter: (UnsafeMutablePointer<ct_guard?>) -> ct_status, _ body: () throws -> Result) rethrows
  -> Result
{
  var mode: ct_guard?
  check(enter(&mode))
  defer { if let mode { ct_guard_leave(mode) } }
  return try body()
}
