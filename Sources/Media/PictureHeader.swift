/// What a picture file says about itself before any pixel is decoded: its kind, its size, its orientation.
struct PictureHeader {
  enum Format { case jpeg, png, webp, heif(isHEVC: Bool), other }

  var format: Format
  /// Nil where the decoder has to find out (JPEG, other formats).
  var size: (width: Int, height: Int)?
  var orientation = Orientation.upright
  var isTruncated = false
  /// In an animated WebP, the chunk that holds the first frame's pixels and that frame's size.
  var firstFrame: (chunk: Range<Int>, width: Int, height: Int)?

  init(_ file: [UInt8]) {
    if file.starts(with: [0xFF, 0xD8, 0xFF]) {
      format = .jpeg
      readJPEG(file)
    } else if file.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
      format = .png
      readPNG(file)
    } else if file.count >= 12, name(file, 0) == "RIFF", name(file, 8) == "WEBP" {
      format = .webp
      readWebP(file)
    } else if let heif = HEIFHeader(file) {
      format = .heif(isHEVC: heif.isHEVC)
      orientation = heif.orientation
    } else {
      format = .other
      // A TIFF is what EXIF is made of.
      orientation = exifOrientation(file[...]) ?? .upright
    }
  }

  private mutating func readJPEG(_ file: [UInt8]) {
    var place = 2
    while place + 4 <= file.count, file[place] == 0xFF {
      let marker = file[place + 1]
      if marker == 0xFF {
        place += 1
        continue
      }
      // The compressed picture begins, or the file ends: EXIF stands before it.
      if marker == 0xDA || marker == 0xD9 { return }
      let length = Int(file[place + 2]) << 8 | Int(file[place + 3])
      let end = min(place + 2 + length, file.count)
      if marker == 0xE1, length >= 2, let found = exifOrientation(file[(place + 4)..<max(end, place + 4)]) {
        orientation = found
        return
      }
      place += 2 + max(length, 2)
    }
  }

  private mutating func readPNG(_ file: [UInt8]) {
    var place = 8
    while true {
      guard let length = bigEndian(file, place), place + 12 + length <= file.count else {
        isTruncated = true
        return
      }
      switch name(file, place + 4) {
      case "IHDR":
        if let width = bigEndian(file, place + 8), let height = bigEndian(file, place + 12) { size = (width, height) }
      case "eXIf":
        orientation = exifOrientation(file[(place + 8)..<(place + 8 + length)]) ?? orientation
      case "IEND": return
      default: break
      }
      place += 12 + length
    }
  }

  private mutating func readWebP(_ file: [UInt8]) {
    guard let total = littleEndian(file, 4), total + 8 <= file.count else {
      isTruncated = true
      // The size below is still wanted: a picture that is too large is told first.
      size = webPSize(file, 12)
      return
    }
    var place = 12
    while let length = littleEndian(file, place + 4), place + 8 + length <= file.count {
      if size == nil { size = webPSize(file, place) }
      if name(file, place) == "EXIF" {
        orientation = exifOrientation(file[(place + 8)..<(place + 8 + length)]) ?? orientation
      }
      if name(file, place) == "ANMF", firstFrame == nil { firstFrame = webPFrame(file, place, length) }
      place += 8 + length + length % 2
    }
  }

  /// What an ANMF chunk holds: 16 bytes about the frame, then chunks of its own, of which one is the pixels.
  private func webPFrame(_ file: [UInt8], _ place: Int, _ length: Int) -> (chunk: Range<Int>, width: Int, height: Int)?
  {
    let end = place + 8 + length
    var inner = place + 8 + 16
    while inner + 8 <= end, let size = littleEndian(file, inner + 4), inner + 8 + size <= end {
      if let word = name(file, inner), word == "VP8 " || word == "VP8L", let shape = webPSize(file, inner) {
        return (inner..<min(end, inner + 8 + size + size % 2), shape.width, shape.height)
      }
      inner += 8 + size + size % 2
    }
    return nil
  }

  /// The size in the chunk at `place`, by RFC 9649.
  private func webPSize(_ file: [UInt8], _ place: Int) -> (width: Int, height: Int)? {
    guard place + 18 <= file.count else { return nil }
    func byte(_ offset: Int) -> Int { Int(file[place + 8 + offset]) }
    switch name(file, place) {
    case "VP8X":
      return (1 + byte(4) + byte(5) << 8 + byte(6) << 16, 1 + byte(7) + byte(8) << 8 + byte(9) << 16)
    case "VP8 ":
      return (byte(6) | (byte(7) & 0x3F) << 8, byte(8) | (byte(9) & 0x3F) << 8)
    case "VP8L":
      let bits = byte(1) | byte(2) << 8 | byte(3) << 16 | byte(4) << 24
      return (1 + bits & 0x3FFF, 1 + (bits >> 14) & 0x3FFF)
    default: return nil
    }
  }
}

/// The orientation in an EXIF block (a TIFF structure, with or without the "Exif\0\0" before it); nil without one.
func exifOrientation(_ block: ArraySlice<UInt8>) -> Orientation? {
  var tiff = Array(block)
  if tiff.starts(with: [0x45, 0x78, 0x69, 0x66, 0, 0]) { tiff.removeFirst(6) }
  guard tiff.count >= 8 else { return nil }
  let isLittle = tiff.starts(with: [0x49, 0x49, 42, 0])
  guard isLittle || tiff.starts(with: [0x4D, 0x4D, 0, 42]) else { return nil }
  func short(_ place: Int) -> Int? {
    guard place >= 0, place + 2 <= tiff.count else { return nil }
    return isLittle ? Int(tiff[place]) | Int(tiff[place + 1]) << 8 : Int(tiff[place]) << 8 | Int(tiff[place + 1])
  }
  guard let directory = isLittle ? littleEndian(tiff, 4) : bigEndian(tiff, 4), let entries = short(directory) else {
    return nil
  }
  for entry in 0..<entries {
    let place = directory + 2 + entry * 12
    guard let tag = short(place), let type = short(place + 2) else { return nil }
    guard tag == 0x0112 else { continue }
    // A SHORT; some writers make it a LONG.
    let value = type == 3 ? short(place + 8) : type == 4 ? (isLittle ? littleEndian : bigEndian)(tiff, place + 8) : nil
    return value.flatMap { Orientation(rawValue: $0) }
  }
  return nil
}

private func bigEndian(_ bytes: [UInt8], _ place: Int) -> Int? {
  guard place >= 0, place + 4 <= bytes.count else { return nil }
  return bytes[place..<(place + 4)].reduce(0) { $0 << 8 | Int($1) }
}

private func littleEndian(_ bytes: [UInt8], _ place: Int) -> Int? {
  guard place >= 0, place + 4 <= bytes.count else { return nil }
  return bytes[place..<(place + 4)].reversed().reduce(0) { $0 << 8 | Int($1) }
}

private func name(_ bytes: [UInt8], _ place: Int) -> String? {
  guard place >= 0, place + 4 <= bytes.count else { return nil }
  return String(decoding: bytes[place..<(place + 4)], as: UTF8.self)
}
