import Basics
import Foundation
import Testing

@testable import Media

@Suite struct PictureReadingTests {
  @Test(arguments: [
    "rgb.png", "rgba.png", "gray.png", "gray-alpha.png", "palette.png", "palette-small.png", "palette-transparent.png",
    "bilevel.png", "lossless.webp", "two-frames.gif", "animated.png", "animated.webp", "444.jpg", "422.jpg", "420.jpg",
    "progressive.jpg", "gray.jpg", "inks.jpg",
  ])
  func `A picture has the bytes that Pillow reads`(name: String) throws {
    let picture = try Picture(contentsOf: fixture(name))
    let expected = try expectedPicture("\(name).rgb")
    #expect(picture.width == expected.width && picture.height == expected.height)
    #expect(largestDifference(picture.bytes, expected.bytes) == 0)
  }

  @Test(arguments: ["rgb16.png", "rgba16.png", "gray16.png"])
  func `Sixteen bits become eight`(name: String) throws {
    let picture = try Picture(contentsOf: fixture(name))
    #expect(largestDifference(picture.bytes, try expectedPicture("\(name).rgb").bytes) <= 1)
  }

  @Test func `A lossy WebP is near to what Pillow reads`() throws {
    let picture = try Picture(contentsOf: fixture("lossy.webp"))
    let expected = try expectedPicture("lossy.webp.rgb")
    let total = zip(picture.bytes, expected.bytes).reduce(0) { $0 + abs(Int($1.0) - Int($1.1)) }
    #expect(picture.bytes.count == expected.bytes.count)
    #expect(Double(total) / Double(expected.bytes.count) < 3)
  }

  @Test(arguments: 1...8, ["jpg", "png", "webp", "avif"])
  func `Every orientation is turned upright`(number: Int, ending: String) throws {
    let expected = try expectedPicture("orientation.rgb")
    let picture = try Picture(contentsOf: fixture("orientation-\(number).\(ending)"))
    #expect(picture.width == 24 && picture.height == 16)
    #expect(largestDifference(picture.bytes, expected.bytes) <= (ending == "jpg" || ending == "avif" ? 2 : 0))
  }

  @Test(arguments: [1, 6, 7]) func `A TIFF is turned upright`(number: Int) throws {
    #expect(try Picture(contentsOf: fixture("orientation-\(number).tif")) == expectedPicture("orientation.rgb"))
  }

  @Test func `An orientation that is stored as a long number counts`() throws {
    var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: fixture("orientation-6.jpg"))))
    let tag: [UInt8] = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0]
    let place = try #require(bytes.indices.first { bytes[$0...].starts(with: tag) })
    bytes.replaceSubrange(place..<place + 12, with: [0x01, 0x12, 0, 4, 0, 0, 0, 1, 0, 0, 0, 6])
    let scratch = try Scratch()
    let picture = try Picture(contentsOf: try scratch.write(bytes, "long.jpg"))
    #expect(largestDifference(picture.bytes, try expectedPicture("orientation.rgb").bytes) <= 2)
  }

  @Test func `A HEIC picture is called what it is`() throws {
    let scratch = try Scratch()
    let brands = Array("heicmif1heic".utf8)
    let type: [UInt8] = [0, 0, 0, 24] + Array("ftyp".utf8) + brands[..<4] + [0, 0, 0, 0] + brands[4...]
    let file = try scratch.write(type + [0, 0, 0, 12] + Array("meta".utf8) + [0, 0, 0, 0], "x.heic")
    let text = sentence { _ = try Picture(contentsOf: file) }
    #expect(text.contains("HEIC") && text.contains("JPEG"))
  }

  @Test func `Damaged AVIF headers never end the program`() throws {
    let whole = try [UInt8](Data(contentsOf: URL(fileURLWithPath: fixture("orientation-5.avif"))))
    #expect(HEIFHeader(whole)?.orientation == .transposed)
    for length in 0..<whole.count { _ = HEIFHeader(Array(whole[..<length])) }
    for place in whole.indices {
      for value: UInt8 in [0, 1, 0x7F, 0xFF] {
        var wild = whole
        wild[place] = value
        _ = HEIFHeader(wild)
      }
    }
  }

  @Test func `A picture through a pipe is read, and read again`() throws {
    let scratch = try Scratch()
    let pipe = scratch.file("pipe")
    #expect(mkfifo(pipe, 0o600) == 0)
    let bytes = try Data(contentsOf: URL(fileURLWithPath: fixture("rgb.png")))
    let writer = Thread { try? FileHandle(forWritingAtPath: pipe)?.write(contentsOf: bytes) }
    writer.start()
    for _ in 0..<2 { #expect(try Picture(contentsOf: pipe) == expectedPicture("rgb.png.rgb")) }
  }

  @Test func `A big-endian EXIF block is understood`() throws {
    let picture = try Picture(contentsOf: fixture("orientation-big-endian.jpg"))
    #expect(largestDifference(picture.bytes, try expectedPicture("orientation.rgb").bytes) <= 2)
  }

  @Test func `Orientation can be left as stored`() throws {
    let picture = try Picture(contentsOf: fixture("orientation-6.png"), applyOrientation: false)
    #expect(picture.width == 16 && picture.height == 24)
    #expect(picture.upright(from: .rightTop) == (try expectedPicture("orientation.rgb")))
  }

  @Test func `Damaged EXIF blocks leave the picture as stored`() {
    let whole: [UInt8] = [0x49, 0x49, 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]
    #expect(exifOrientation(whole[...]) == .rightTop)
    for length in 0..<18 { #expect(exifOrientation(whole[..<length]) == nil) }
    var wild = whole
    wild[4...7] = [0xFF, 0xFF, 0xFF, 0x7F]
    #expect(exifOrientation(wild[...]) == nil)
    wild = whole
    wild[18] = 9
    #expect(exifOrientation(wild[...]) == nil)
  }

  @Test func `A picture of one pixel is read`() throws {
    let scratch = try Scratch()
    try Picture(width: 1, height: 1, bytes: [1, 2, 3]).writePNG(to: scratch.file("one.png"))
    #expect(try Picture(contentsOf: scratch.file("one.png")).bytes == [1, 2, 3])
  }

  @Test func `A written PNG is read back, and says what it was told to`() throws {
    let scratch = try Scratch()
    let picture = try expectedPicture("420.jpg.rgb")
    try picture.writePNG(to: scratch.file("x.png"), comment: "made here")
    #expect(try Picture(contentsOf: scratch.file("x.png")) == picture)
    let file = try Data(contentsOf: URL(fileURLWithPath: scratch.file("x.png")))
    #expect(file.range(of: Data("tEXtComment\0made here".utf8)) != nil)
    #expect(scratch.content == ["x.png"])
  }
}

@Suite struct PictureFaultTests {
  @Test func `Files that are not there or hold nothing are refused`() throws {
    let scratch = try Scratch()
    #expect(
      sentence { try Picture(contentsOf: scratch.file("no.png")) }
        == "The picture \(scratch.file("no.png")) cannot be read: there is no such file.")
    #expect(sentence { try Picture(contentsOf: scratch.path) }.contains("it is a directory"))
    let empty = try scratch.write([], "empty.jpg")
    #expect(sentence { try Picture(contentsOf: empty) }.contains("it is empty"))
  }

  @Test(arguments: ["text.jpg", "text.png", "text.webp", "text.gif", "text.txt"])
  func `A text file is refused whatever its name`(name: String) throws {
    let scratch = try Scratch()
    let path = try scratch.write(Array("Dear reader, this is a letter and no picture.\n".utf8), name)
    #expect(sentence { try Picture(contentsOf: path) }.contains("not a picture of a known format"))
  }

  @Test func `A playlist that names other files is refused`() throws {
    let scratch = try Scratch()
    let path = try scratch.write(Array("#EXTM3U\n#EXTINF:1,\n\(fixture("tone.mp3"))\n".utf8), "list.m3u8")
    #expect(sentence { try Picture(contentsOf: path) }.contains("not a picture"))
    #expect(sentence { try Sound(contentsOf: path) }.contains("not a sound"))
  }

  @Test(arguments: ["rgb.png", "palette.png", "420.jpg", "progressive.jpg", "lossy.webp", "lossless.webp"])
  func `A truncated picture is refused`(name: String) throws {
    let scratch = try Scratch()
    let whole = try [UInt8](Data(contentsOf: URL(fileURLWithPath: fixture(name))))
    for part in [0.3, 0.6, 0.9] {
      let path = try scratch.write(Array(whole[..<Int(Double(whole.count) * part)]), name)
      #expect(sentence { try Picture(contentsOf: path) }.contains(path))
    }
    let path = try scratch.write(Array(whole.dropLast(whole.count / 2)), name)
    #expect(sentence { try Picture(contentsOf: path) }.hasSuffix("it is truncated."))
  }

  @Test func `A PNG with a flipped bit is refused`() throws {
    let scratch = try Scratch()
    var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: fixture("rgb.png"))))
    bytes[bytes.count / 2] ^= 4
    let path = try scratch.write(bytes, "bad.png")
    #expect(sentence { try Picture(contentsOf: path) }.contains(path))
  }

  /// In a process of its own, where other tests' memory does not count.
  @Test func `A picture of 20,000 × 20,000 is refused from its header`() async {
    await #expect(processExitsWith: .success) {
      let scratch = try Scratch()
      let before = residentBytes()
      let start = ContinuousClock.now
      for (bytes, name) in [
        (hugePNG(20_000, 20_000), "huge.png"), (hugePNG(16_385, 1), "wide.png"), (hugePNG(12_000, 12_000), "many.png"),
        (try hugeJPEG(20_000, 20_000), "huge.jpg"), (try hugeWebP(), "huge.webp"), (hugeGIF(), "huge.gif"),
      ] {
        let path = try scratch.write(bytes, name)
        let said = sentence { try Picture(contentsOf: path) }
        // A GIF's size is the decoder's to refuse.
        if name != "huge.gif" { #expect(said.contains("pixels, and at most 16384 a side and 100 million")) }
      }
      #expect(ContinuousClock.now - start < .seconds(2))
      #expect(residentBytes() - before < 64 << 20)
    }
  }
}

private func hugePNG(_ width: UInt32, _ height: UInt32) -> [UInt8] {
  func big(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }
  return [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A] + big(13) + Array("IHDR".utf8) + big(width) + big(height)
    + [8, 2, 0, 0, 0] + big(0) + big(0) + Array("IDAT".utf8) + big(0) + big(0) + Array("IEND".utf8) + big(0)
}

/// A real file whose frame header (SOF0) claims another size.
private func hugeJPEG(_ width: Int, _ height: Int) throws -> [UInt8] {
  var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: fixture("444.jpg"))))
  let frame = try #require((0..<bytes.count - 9).first { bytes[$0] == 0xFF && bytes[$0 + 1] == 0xC0 })
  bytes.replaceSubrange(
    (frame + 5)..<(frame + 9),
    with: [UInt8(height >> 8), UInt8(height & 255), UInt8(width >> 8), UInt8(width & 255)])
  return bytes
}

private func hugeWebP() throws -> [UInt8] {
  var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: fixture("orientation-1.webp"))))
  #expect(Array(bytes[12..<16]) == Array("VP8X".utf8))
  bytes.replaceSubrange(24..<30, with: [0x1F, 0x4E, 0, 0x1F, 0x4E, 0])
  return bytes
}

private func hugeGIF() -> [UInt8] {
  Array("GIF89a".utf8) + [0x20, 0x4E, 0x20, 0x4E, 0x80, 0, 0, 0, 0, 0, 255, 255, 255]
    + [0x2C, 0, 0, 0, 0, 0x20, 0x4E, 0x20, 0x4E, 0, 2, 2, 0x4C, 1, 0, 0x3B]
}
