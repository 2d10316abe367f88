import CTorch
import Torch

/// One connection to the key-value store that rank 0 keeps for all ranks.
// Unchecked for `c`: c10d's store locks each call.
final class RendezvousStore: @unchecked Sendable {
  let c: ct_store

  /// - Parameter size: how many ranks the host waits for; 0 to wait for none.
  init(_ launch: LaunchEnvironment, isHost: Bool, size: Int, timeout: Duration) throws {
    var pointer: ct_store?
    try throwing(
      ct_store_open(launch.address, Int32(launch.port), isHost, Int32(size), timeout.milliseconds, &pointer))
    guard let pointer else { throw TorchError("The store of the process group could not be opened.") }
    c = pointer
  }

  deinit { ct_store_free(c) }

  func set(_ key: String, _ value: String) throws {
    let bytes = Array(value.utf8)
    try throwing(ct_store_set(c, key, bytes, bytes.count))
  }

  /// The value of a key; waits until there is one.
  func get(_ key: String) throws -> String {
    var buffer = [UInt8](repeating: 0, count: 4096)
    var size = 0
    try throwing(ct_store_get(c, key, &buffer, buffer.count, &size))
    return String(decoding: buffer.prefix(size), as: UTF8.self)
  }
}

extension Duration {
  var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
  var seconds: Double { Double(milliseconds) / 1000 }
}
