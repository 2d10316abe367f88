import Basics
import Foundation
import Media
import Testing

@testable import SyntheticSpeaker

@Suite struct PortraitTests {
  /// A clean-shaven person whose face nothing covers.
  private func identity(_ number: Int = 0) -> Identity {
    var random = SeededRandom(seed: 11, [number])
    var identity = Identity(using: &random)
    identity.beard = .none
    identity.glasses = .none
    identity.skin = Paint(0xE8B48E)
    identity.lips = Paint(0xC0505A)
    return identity
  }

  private func color(_ picture: Picture, _ x: Int, _ y: Int) -> Paint {
    let place = (y * picture.width + x) * 3
    let bytes = picture.bytes[place..<place + 3].map { Double($0) / 255 }
    return Paint(bytes[0], bytes[1], bytes[2])
  }

  private func distance(_ a: Paint, _ b: Paint) -> Double {
    ((a.red - b.red) * (a.red - b.red) + (a.green - b.green) * (a.green - b.green)
      + (a.blue - b.blue) * (a.blue - b.blue)).squareRoot()
  }

  /// Whether a colour is of the inside of the mouth rather than of lips.
  private func isInside(_ paint: Paint, _ lips: Paint) -> Bool {
    distance(paint, Lips.inside) < distance(paint, lips)
  }

  @Test(arguments: [0.0, 0.15, 0.3, 0.5, 0.75, 1]) func `The mouth in the picture is as open as the truth says`(
    open: Double
  ) throws {
    let identity = identity()
    let portrait = try Portrait(identity, width: 512, height: 512)
    var state = Speaker.rest
    state.mouthOpen = open
    let picture = try portrait.render(state)
    let marks = portrait.landmarks(state)
    let x = Int(marks.lipTop[0])
    let rows = (Int(marks.lipTop[1]) - 30)...(Int(marks.lipBottom[1]) + 30)
    let inside = rows.filter { isInside(color(picture, x, $0), identity.lips) }
    let said = Head.widestGap * open * identity.scale * 256
    #expect(abs((marks.lipBottom[1] - marks.lipTop[1]) - said) < 0.02)
    if open == 0 {
      // The line between closed lips.
      #expect(inside.count <= 4)
    } else {
      #expect(abs(Double(inside.count) - said) <= 1.5, "\(inside.count) pixels, \(said) said")
      #expect(abs(Double(inside.first ?? 0) - marks.lipTop[1]) <= 1.5)
    }
  }

  @Test(arguments: [0.0, 0.4, 0.8, 1]) func `The mouth in the picture is as wide as the truth says`(width: Double)
    throws
  {
    let identity = identity()
    let portrait = try Portrait(identity, width: 512, height: 512)
    var state = Speaker.rest
    state.mouthWidth = width
    state.mouthOpen = 0.6
    let picture = try portrait.render(state)
    let marks = portrait.landmarks(state)
    let y = Int(marks.mouthLeft[1])
    let columns = (0..<512).filter { x in
      let paint = color(picture, x, y)
      return min(distance(paint, identity.lips), distance(paint, Lips.inside)) < 0.12 && abs(x - 256) < 120
    }
    let said = marks.mouthRight[0] - marks.mouthLeft[0]
    #expect(abs(Double((columns.last ?? 0) - (columns.first ?? 0)) - said) <= 6, "\(columns.count), \(said)")
    #expect(abs(said - 2 * identity.mouthHalfWidth * (0.5 + width) * identity.scale * 256) < 1)
  }

  @Test func `A blink closes the eyes`() throws {
    let identity = identity()
    let portrait = try Portrait(identity, width: 256, height: 256)
    func whites(_ blink: Double) throws -> Int {
      var state = Speaker.rest
      state.blink = blink
      let picture = try portrait.render(state)
      let eye = portrait.landmarks(state).leftEye
      var count = 0
      for y in Int(eye[1]) - 10...Int(eye[1]) + 10 {
        for x in Int(eye[0]) - 14...Int(eye[0]) + 14 where distance(color(picture, x, y), Paint(0xFBF8F4)) < 0.15 {
          count += 1
        }
      }
      return count
    }
    let (open, half, closed) = (try whites(0), try whites(0.5), try whites(1))
    #expect(open > 30 && half < open && half > 0 && closed == 0, "\(open), \(half), \(closed)")
  }

  @Test(arguments: Array(stride(from: 64, through: 512, by: 64))) func `Every size shows the same person`(size: Int)
    throws
  {
    let picture = try Portrait(identity(), width: size, height: size).render(Speaker.rest)
    #expect(picture.width == size && picture.height == size)
    let cheek = color(picture, size / 2 - size / 9, size / 2)
    #expect(distance(cheek, Paint(0xE8B48E)) < 0.2)
    #expect(Set(picture.bytes).count > 40)
  }

  @Test func `Pictures may be wider or higher than square`() throws {
    for (width, height) in [(256, 128), (128, 256)] {
      let portrait = try Portrait(identity(), width: width, height: height)
      #expect(try portrait.render(Speaker.rest).bytes.count == width * height * 3)
      let marks = portrait.landmarks(Speaker.rest)
      #expect(marks.leftEye[0] > 0 && marks.rightEye[0] < Double(width) && marks.chin[1] < Double(height))
    }
  }

  @Test func `The same state gives the same bytes, whatever was drawn before`() throws {
    let portrait = try Portrait(identity(), width: 128, height: 128)
    let first = try portrait.render(Speaker.rest)
    var other = Speaker.rest
    (other.yaw, other.roll, other.mouthOpen, other.blink) = (20, -10, 1, 1)
    #expect(try portrait.render(other) != first)
    #expect(try portrait.render(Speaker.rest) == first)
    #expect(try Portrait(identity(), width: 128, height: 128).render(Speaker.rest) == first)
  }

  @Test func `A turned head moves its features the way it is turned`() throws {
    let portrait = try Portrait(identity(), width: 256, height: 256)
    func marks(_ change: (inout FrameState) -> Void) -> Landmarks {
      var state = Speaker.rest
      change(&state)
      return portrait.landmarks(state)
    }
    let rest = marks { _ in }
    #expect(marks { $0.yaw = 20 }.nose[0] > rest.nose[0] + 5)
    #expect(marks { $0.pitch = 15 }.nose[1] > rest.nose[1] + 5)
    let rolled = marks { $0.roll = 12 }
    let angle = atan2(rolled.rightEye[1] - rolled.leftEye[1], rolled.rightEye[0] - rolled.leftEye[0])
    #expect(abs(angle * 180 / .pi - 12) < 0.5)
  }

  @Test func `People differ, and every trait is drawn`() throws {
    var pictures: Set<[UInt8]> = []
    for number in 0..<60 {
      var random = SeededRandom(seed: 5, [number])
      let identity = Identity(using: &random)
      pictures.insert(try Portrait(identity, width: 64, height: 64).render(Speaker.rest).bytes)
    }
    #expect(pictures.count == 60)
    let base = identity()
    func differs(_ change: (inout Identity) -> Void) throws -> Bool {
      var other = base
      change(&other)
      let plain = try Portrait(base, width: 96, height: 96).render(Speaker.rest)
      return try Portrait(other, width: 96, height: 96).render(Speaker.rest) != plain
    }
    for glasses in Identity.Glasses.allCases where glasses != .none { #expect(try differs { $0.glasses = glasses }) }
    for beard in Identity.Beard.allCases where beard != .none { #expect(try differs { $0.beard = beard }) }
    for hair in Identity.HairStyle.allCases where hair != base.hairStyle {
      #expect(try differs { $0.hairStyle = hair })
    }
    for cloth in Identity.Clothes.allCases where cloth != base.clothes { #expect(try differs { $0.clothes = cloth }) }
    for backdrop in Identity.Backdrop.allCases where backdrop != base.backdrop {
      #expect(try differs { $0.backdrop = backdrop })
    }
  }
}
