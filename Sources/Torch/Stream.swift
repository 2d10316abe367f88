import CTorch

/// A queue of work on a GPU; work of two streams may run side by side. On the CPU there is one and nothing waits.
// Unchecked for `c`, which is only read after it is made; CUDA takes work for a stream from any thread.
package final class Stream: @unchecked Sendable {
  private let c: ct_stream?
  package let device: Device

  /// A stream of its own on `device`.
  package init(device: Device) {
    self.device = device
    var pointer: ct_stream?
    if !device.isCPU { check(ct_stream_new(device.c, &pointer)) }
    c = pointer
  }

  private init(currentOn device: Device) {
    self.device = device
    var pointer: ct_stream?
    if !device.isCPU { check(ct_stream_current(device.c, &pointer)) }
    c = pointer
  }

  deinit { if let c { ct_stream_free(c) } }

  /// The stream that this thread's operations on `device` go to.
  package static func current(_ device: Device) -> Stream { Stream(currentOn: device) }

  /// Sends the operations of `body` to this stream.
  package func run<Result>(_ body: () throws -> Result) rethrows -> Result {
    guard let c else { return try body() }
    return try within({ ct_stream_enter(c, $0) }, body)
  }

  /// Lets later work of this stream begin only when what `other` holds now is done.
  package func wait(for other: Stream) {
    if let c, let awaited = other.c { check(ct_stream_wait(c, awaited)) }
  }

  package func synchronize() { if let c { check(ct_stream_synchronize(c)) } }

  /// Keeps the memory of `tensor`, made on another stream, from being reused before this stream is done with it.
  package func keep(_ tensor: Tensor) { if let c { check(ct_record_stream(tensor.c, c)) } }
}
