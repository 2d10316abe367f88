/// Where parts of the face lie in a picture: x and y in pixels from its upper left corner. Left and right are the picture's.
package struct Landmarks: Codable, Sendable, Equatable {
  package var leftEye: [Double]
  package var rightEye: [Double]
  package var nose: [Double]
  package var mouthLeft: [Double]
  package var mouthRight: [Double]
  /// The inner edges of the lips at their middle.
  package var lipTop: [Double]
  package var lipBottom: [Double]
  package var chin: [Double]
}
