import Foundation

/// The records of a TensorBoard event file (tensorflow's `event.proto` and `summary.proto`), framed.
enum TensorBoardEvents {
  /// What must stand first in a file.
  static func header(time: Double) -> [UInt8] {
    event(time: time, step: nil) { $0.data(3, "brain.Event:2".utf8) }
  }

  /// Makes TensorBoard forget what earlier files of the folder say of this step and later ones.
  static func start(step: Int, time: Double) -> [UInt8] {
    event(time: time, step: step) { $0.message(7) { $0.integer(1, 1) } }
  }

  static func scalars(_ values: [(name: String, value: Double)], step: Int, time: Double) -> [UInt8] {
    event(time: time, step: step) {
      $0.message(5) { summary in
        for (name, value) in values {
          summary.message(1) {
            $0.data(1, name.utf8)
            $0.float(2, Float(value))
          }
        }
      }
    }
  }

  /// - Parameter png: a whole PNG file of three colours.
  static func image(_ name: String, png: [UInt8], width: Int, height: Int, step: Int, time: Double) -> [UInt8] {
    event(time: time, step: step) {
      $0.message(5) {
        $0.message(1) {
          $0.data(1, name.utf8)
          $0.message(4) {
            $0.integer(1, height)
            $0.integer(2, width)
            $0.integer(3, 3)
            $0.data(4, png)
          }
        }
      }
    }
  }

  private static func event(time: Double, step: Int?, _ fill: (inout ProtobufMessage) -> Void) -> [UInt8] {
    var message = ProtobufMessage()
    message.double(1, time)
    if let step { message.integer(2, step) }
    fill(&message)
    return tfRecord(message.bytes)
  }
}
