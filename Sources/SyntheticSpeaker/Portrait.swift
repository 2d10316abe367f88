package import Basics
import Foundation
import Media

/// Draws one person. Used from one thread at a time.
package final class Portrait {
  let identity: Identity
  private let canvas: Canvas
  private let backdrop: Canvas

  /// - Throws: `LiveTalkError` when memory is exhausted.
  package init(_ identity: Identity, width: Int, height: Int) throws {
    self.identity = identity
    canvas = try Canvas(width: width, height: height)
    backdrop = try Canvas(width: width, height: height)
    drawBackdrop(identity, on: backdrop)
  }

  /// The picture of a state.
  package func render(_ state: FrameState) throws -> Picture {
    let head = Head(identity, state)
    canvas.paint(backdrop)
    canvas.saved {
      place()
      canvas.saved {
        turn(head)
        drawHairBehind(head, on: canvas)
      }
      drawBody(head, on: canvas)
      canvas.saved {
        turn(head)
        drawFace(head, on: canvas)
        drawMouth(head, on: canvas)
        drawEyes(head, on: canvas)
        drawGlasses(head, on: canvas)
        drawHairInFront(head, on: canvas)
      }
    }
    return try canvas.picture()
  }

  /// Where the parts of the face are in the picture of a state.
  package func landmarks(_ state: FrameState) -> Landmarks {
    let head = Head(identity, state)
    let mouth = head.mouth
    var landmarks: Landmarks?
    canvas.saved {
      place()
      turn(head)
      func pixels(_ point: Point) -> [Double] {
        let pixel = canvas.pixel(point)
        return [pixel.x.rounded(2), pixel.y.rounded(2)]
      }
      landmarks = Landmarks(
        leftEye: pixels(head.face(-identity.eyeSpacing, Eye.height)),
        rightEye: pixels(head.face(identity.eyeSpacing, Eye.height)),
        nose: pixels(head.face(0, 0.105 * identity.noseLength, lift: 0.05)),
        mouthLeft: pixels(head.face(-mouth.halfWidth, mouth.corner)),
        mouthRight: pixels(head.face(mouth.halfWidth, mouth.corner)),
        lipTop: pixels(head.face(0, mouth.top, lift: Lips.lift)),
        lipBottom: pixels(head.face(0, mouth.bottom, lift: Lips.lift)),
        chin: pixels(head.outline(0, identity.chin + head.jaw)))
    }
    return landmarks
      ?? Landmarks(
        leftEye: [], rightEye: [], nose: [], mouthLeft: [], mouthRight: [], lipTop: [], lipBottom: [], chin: [])
  }

  /// From pixels to head units.
  private func place() {
    let unit = Double(min(canvas.width, canvas.height)) / 2
    canvas.translate(
      Double(canvas.width) / 2 + identity.offsetX * unit, Double(canvas.height) - unit + identity.offsetY * unit)
    canvas.scale(unit * identity.scale, unit * identity.scale)
  }

  private func turn(_ head: Head) {
    canvas.translate(Head.neck.x, Head.neck.y)
    canvas.rotate(head.state.roll * .pi / 180)
    canvas.translate(-Head.neck.x, -Head.neck.y)
  }
}
