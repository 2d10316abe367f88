package import Torch

/// Which device holds which layers of a transformer: consecutive layers in groups, each group on a device (model parallelism by layers, what
/// Hugging Face's `device_map` does). A pass goes through the groups one after the other, so that one device computes at a time.
package struct LayerDevices: Hashable, Sendable {
  package struct Group: Hashable, Sendable {
    package let layers: Range<Int>
    package let device: Device
  }

  package let groups: [Group]
  /// The device of each layer.
  package let table: [Device]

  /// - Precondition: the ranges follow each other from layer 0 on.
  package init(_ groups: [(layers: Range<Int>, device: Device)]) {
    precondition(!groups.isEmpty && groups[0].layers.lowerBound == 0, "layers are counted from 0")
    precondition(
      zip(groups, groups.dropFirst()).allSatisfy { $0.layers.upperBound == $1.layers.lowerBound },
      "each layer has one device")
    self.groups = groups.map { Group(layers: $0.layers, device: $0.device) }
    table = groups.flatMap { group in group.layers.map { _ in group.device } }
  }

  /// All layers on one device.
  package init(layers: Int, on device: Device) { self.init([(0..<layers, device)]) }

  /// Layers in groups of so many, the last one of what is left.
  package static func ranges(layers: Int, perDevice: Int) -> [Range<Int>] {
    stride(from: 0, to: layers, by: perDevice).map { $0..<min(layers, $0 + perDevice) }
  }

  package subscript(layer: Int) -> Device { table[layer] }
  /// The device of the first layers, of what stands before them and of everything that is not a layer's.
  package var first: Device { groups[0].device }
  /// The device of the last layers and of the head.
  package var last: Device { groups[groups.count - 1].device }

  /// What each device holds: groups on one device that follow each other are one here.
  package var held: [Group] {
    groups.reduce(into: []) { held, group in
      if let last = held.last, last.device == group.device {
        held[held.count - 1] = Group(
          layers: last.layers.lowerBound..<group.layers.upperBound, device: group.device)
      } else {
        held.append(group)
      }
    }
  }
}
