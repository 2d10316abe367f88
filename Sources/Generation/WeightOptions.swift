import Basics
package import NN
package import Torch

/// How the weights of a transformer are kept where a device does not hold them as they are.
package struct WeightOptions: Hashable, Sendable {
  /// Whether most linear layers are kept in 8 bits; Live Avatar's only.
  package var float8: Bool
  /// Whether the layers stay in host memory and come to the device one by one; Live Avatar's only.
  package var offload: Bool
  /// How many layers each of several devices holds; nil for all on one.
  package var layersPerDevice: Int?

  package init(float8: Bool = false, offload: Bool = false, layersPerDevice: Int? = nil) {
    (self.float8, self.offload, self.layersPerDevice) = (float8, offload, layersPerDevice)
  }

  /// The layers of each device.
  ///
  /// - Parameter layers: of the transformer.
  /// - Throws: `LiveTalkError` for a number that it does not have, and beside offload, whose layers are on no device.
  package func groups(of layers: Int) throws -> [Range<Int>] {
    guard let layersPerDevice else { return [0..<layers] }
    guard (1...max(layers, 1)).contains(layersPerDevice) else {
      throw LiveTalkError(
        "--layers-per-device is a number from 1 to \(layers), the layers of this transformer, not \(layersPerDevice).")
    }
    guard !offload else {
      throw LiveTalkError(
        "--offload keeps the layers in host memory and --layers-per-device on several devices: leave one of them out.")
    }
    return LayerDevices.ranges(layers: layers, perDevice: layersPerDevice)
  }

  /// Which device holds which layers: consecutive devices of this machine. On the CPU, of which there is one, it holds all groups.
  ///
  /// - Parameters:
  ///   - layers: of the transformer.
  ///   - first: the device of the first layers.
  /// - Throws: `LiveTalkError` as above, and where the machine has too few devices.
  package func layerDevices(_ layers: Int, from first: Device) throws -> LayerDevices {
    let groups = try groups(of: layers)
    let last = groups.count - 1
    switch first {
    case .cpu: return LayerDevices(groups.map { ($0, .cpu) })
    case .cuda(let index):
      let there = Device.cudaCount
      guard groups.count == 1 || index + last < there else {
        throw LiveTalkError(
          "With --layers-per-device \(layersPerDevice ?? layers) the \(layers) layers take the devices cuda:\(index) to "
            + "cuda:\(index + last), and this machine has \(there) CUDA device\(there == 1 ? "" : "s"): more layers on each "
            + "take fewer.")
      }
      return LayerDevices(groups.enumerated().map { ($1, .cuda(index + $0)) })
    case .mps, .meta:
      guard last == 0 else {
        throw LiveTalkError("--layers-per-device takes several devices, and there is one \(first): leave it out.")
      }
      return LayerDevices(layers: layers, on: first)
    }
  }
}
