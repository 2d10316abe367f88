package import Basics
import CFFmpeg
import CMedia
import Foundation

extension Picture {
  /// The largest picture file that is read.
  private static let maximumFileBytes = 1 << 29

  /// Reads a JPEG, PNG or WebP, or the first frame of another picture FFmpeg knows. Alpha is dropped without
  /// compositing, 16-bit samples lose their low byte, grays and palettes become RGB; JPEGs are decoded by libjpeg
  /// (docs/decisions/0006-jpeg.md).
  ///
  /// - Parameter applyOrientation: turn the picture upright as its EXIF says.
  /// - Throws: `LiveTalkError` for a file that is missing, empty, truncated, damaged, no picture, or larger than
  ///   `maximumSide` or `maximumPixels`; the size is judged from the header, before pixels are allocated.
  package init(contentsOf path: String, applyOrientation: Bool = true) throws {
    let source = try SourceFile(path, kind: .picture)
    guard source.size <= Self.maximumFileBytes else {
      throw LiveTalkError.unreadable("picture", path, "its file is larger than \(Self.maximumFileBytes >> 20) MiB")
    }
    let file: [UInt8]
    do { file = try [UInt8](Data(contentsOf: URL(fileURLWithPath: source.place))) } catch {
      throw LiveTalkError.unreadable("picture", path, "the system refuses to open it")
    }
    do {
      let picture = try Self.decode(file, path: path, applyOrientation: applyOrientation)
      self = picture
    } catch let problem as PictureProblem {
      throw LiveTalkError.unreadable("picture", path, problem.reason)
    }
  }

  /// Decodes a JPEG, PNG or WebP that lies in memory, as `init(contentsOf:)` does, and nothing else.
  ///
  /// - Parameters:
  ///   - file: the whole file.
  ///   - name: what errors call the picture.
  ///   - mostPixels: a larger picture is refused before its pixels are decoded.
  /// - Throws: `LiveTalkError`.
  package init(decoding file: [UInt8], name: String, mostPixels: Int = Picture.maximumPixels) throws {
    do {
      switch PictureHeader(file).format {
      case .jpeg, .png, .webp: break
      // Other decoders read files, and this one has none.
      case .heif, .other: throw PictureProblem(reason: "it is no JPEG, PNG or WebP")
      }
      self = try Self.decode(file, path: name, applyOrientation: true, mostPixels: mostPixels)
    } catch let problem as PictureProblem {
      throw LiveTalkError.unreadable("picture", name, problem.reason)
    }
  }

  private static func decode(
    _ file: [UInt8], path: String, applyOrientation: Bool, mostPixels: Int = maximumPixels
  ) throws -> Picture {
    let header = PictureHeader(file)
    if let size = header.size { try requireSize(size.width, size.height, mostPixels) }
    guard !header.isTruncated else { throw PictureProblem(reason: "it is truncated") }
    let picture: Picture
    switch header.format {
    case .jpeg: picture = try decodeJPEG(file, mostPixels)
    case .png: picture = try decodeWhole(file, AV_CODEC_ID_PNG)
    case .webp: picture = try decodeWhole(stillWebP(file, header), AV_CODEC_ID_WEBP)
    case .heif(isHEVC: true):
      throw PictureProblem(reason: "it is a HEIC picture, which cannot be read here; save it as JPEG or PNG")
    case .heif: picture = try decodeFirstFrame(path).picture
    case .other:
      let first = try decodeFirstFrame(path)
      // A video's first frame is turned as its container says.
      return applyOrientation ? first.picture.upright(from: header.orientation.then(first.orientation)) : first.picture
    }
    return applyOrientation ? picture.upright(from: header.orientation) : picture
  }

  /// FFmpeg's decoder knows no animations: their first frame is given to it as a file of its own.
  private static func stillWebP(_ file: [UInt8], _ header: PictureHeader) throws -> [UInt8] {
    guard let frame = header.firstFrame else { return file }
    guard let size = header.size, size == (frame.width, frame.height) else {
      throw PictureProblem(reason: "the first frame of its animation does not fill it")
    }
    let length = UInt32(4 + frame.chunk.count)
    return Array("RIFF".utf8) + (0..<4).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) } + Array("WEBP".utf8)
      + file[frame.chunk]
  }

  private static func requireSize(_ width: Int, _ height: Int, _ mostPixels: Int = maximumPixels) throws {
    guard width > 0, height > 0 else { throw PictureProblem(reason: "its header gives no size") }
    guard width <= maximumSide, height <= maximumSide, width * height <= mostPixels else {
      throw PictureProblem(
        reason: "it is \(width) × \(height) pixels, and at most \(maximumSide) a side and "
          + "\(mostPixels / 1_000_000) million in all are read")
    }
  }

  private static func decodeJPEG(_ file: [UInt8], _ mostPixels: Int) throws -> Picture {
    var message = [CChar](repeating: 0, count: 256)
    var width: Int32 = 0
    var height: Int32 = 0
    func problem() -> PictureProblem { PictureProblem(reason: sentencePart(text(message))) }
    guard cmedia_jpeg_size(file, file.count, &width, &height, &message, message.count) == 0 else { throw problem() }
    try requireSize(Int(width), Int(height), mostPixels)
    let capacity = Int(width) * Int(height) * 3
    var isDecoded = false
    let bytes = [UInt8](unsafeUninitializedCapacity: capacity) { target, count in
      isDecoded =
        cmedia_jpeg_decode(file, file.count, target.baseAddress, capacity, &message, message.count) == 0
      count = isDecoded ? capacity : 0
    }
    guard isDecoded else { throw problem() }
    return Picture(width: Int(width), height: Int(height), bytes: bytes)
  }

  /// Decodes a format whose file is one packet for its decoder.
  private static func decodeWhole(_ file: [UInt8], _ identifier: AVCodecID) throws -> Picture {
    FFmpeg.begin()
    guard let decoder = avcodec_find_decoder(identifier) else {
      throw PictureProblem(reason: "this FFmpeg has no decoder for it")
    }
    let codec = try Codec(decoder)
    codec.pointer.pointee.max_pixels = Int64(maximumPixels)
    codec.pointer.pointee.thread_count = 1
    codec.pointer.pointee.err_recognition = cff_strict_errors()
    let packet = try Packet()
    let frame = try Frame()
    guard file.count < Int(Int32.max), av_new_packet(packet.pointer, Int32(file.count)) >= 0 else {
      throw PictureProblem(reason: "memory is exhausted")
    }
    packet.pointer.pointee.data.update(from: file, count: file.count)
    var status = avcodec_open2(codec.pointer, decoder, nil)
    if status >= 0 { status = avcodec_send_packet(codec.pointer, packet.pointer) }
    if status >= 0 { status = avcodec_send_packet(codec.pointer, nil) }
    if status >= 0 { status = avcodec_receive_frame(codec.pointer, frame.pointer) }
    guard status >= 0 else {
      throw PictureProblem(reason: status == cff_error_end() ? "nothing in it can be decoded" : FFmpeg.reason(status))
    }
    return try RGBConverter().picture(frame.pointer)
  }

  private static func decodeFirstFrame(_ path: String) throws -> (picture: Picture, orientation: Orientation) {
    let input = try MediaInput(path: path, kind: .picture, type: AVMEDIA_TYPE_VIDEO)
    try requireSize(
      max(1, Int(input.stream.pointee.codecpar.pointee.width)),
      max(1, Int(input.stream.pointee.codecpar.pointee.height)))
    guard let frame = try input.next() else { throw PictureProblem(reason: "nothing in it can be decoded") }
    try requireSize(Int(frame.pointee.width), Int(frame.pointee.height))
    let picture = try RGBConverter().picture(frame, pixelAspect: input.pixelAspect(of: frame))
    return (picture, input.orientation(of: frame))
  }
}

/// Why a picture cannot be read, before its path is known.
private struct PictureProblem: Error { var reason: String }

/// A library's message as the end of a sentence of ours.
private func sentencePart(_ message: String) -> String {
  let bare = message.hasSuffix(".") ? String(message.dropLast()) : message
  return bare.isEmpty ? "it is damaged" : bare
}
