import Basics
import CFFmpeg
import Foundation

/// Turns decoded frames of any pixel format into packed RGB8. Formats whose bytes already are colours or grays are
/// copied by hand, so that they are exact; the others (YUV) go through swscale. Alpha is dropped.
final class RGBConverter {
  private var scaler: OpaquePointer?
  private var target: Frame?
  private var shape: [Int32] = []

  deinit { sws_freeContext(scaler) }

  /// Pixels across a picture of square pixels, of so many that are `aspect` times as wide as high.
  static func shownWidth(_ width: Int, _ aspect: Double) -> Int {
    max(1, min(Int((Double(width) * aspect).rounded()), Picture.maximumSide))
  }

  /// - Parameter pixelAspect: width of a pixel over its height; the result's are square.
  func picture(_ frame: UnsafeMutablePointer<AVFrame>, pixelAspect: Double = 1) throws -> Picture {
    let height = Int(frame.pointee.height)
    let width = Self.shownWidth(Int(frame.pointee.width), pixelAspect)
    guard width == Int(frame.pointee.width) else {
      return Picture(
        width: width, height: height, bytes: try scaled(frame, width: width).packed(width: width, height: height))
    }
    let format = AVPixelFormat(rawValue: frame.pointee.format)
    guard let description = av_pix_fmt_desc_get(format), let plane = frame.pointee.data.0 else {
      throw LiveTalkError("A decoded picture has an unknown pixel format.")
    }
    let source = Rows(start: UnsafePointer(plane), stride: Int(frame.pointee.linesize.0))
    let bytes: [UInt8]
    if format == AV_PIX_FMT_RGB24 {
      bytes = source.packed(width: width, height: height)
    } else if format == AV_PIX_FMT_PAL8, let palette = frame.pointee.data.1 {
      bytes = paletted(source, palette, width, height)
    } else if let offsets = byteOffsets(description.pointee) {
      bytes = direct(source, offsets, width, height)
    } else {
      bytes = try scaled(frame, width: width).packed(width: width, height: height)
    }
    return Picture(width: width, height: height, bytes: bytes)
  }

  /// Where the three colours' leading bytes lie in a packed pixel; nil when they do not lie so.
  private func byteOffsets(_ description: AVPixFmtDescriptor) -> (red: Int, green: Int, blue: Int, step: Int)? {
    let flags = Int32(bitPattern: UInt32(truncatingIfNeeded: description.flags))
    let other = AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_BAYER
    guard flags & other == 0 else { return nil }
    let isGray = description.nb_components <= 2
    guard isGray || flags & AV_PIX_FMT_FLAG_RGB != 0 else { return nil }
    let first = description.comp.0
    let colours = isGray ? [first, first, first] : [first, description.comp.1, description.comp.2]
    var offsets: [Int] = []
    for colour in colours {
      guard colour.plane == 0, colour.shift == 0, colour.depth == 8 || colour.depth == 16 else { return nil }
      let isLittle = colour.depth == 16 && flags & AV_PIX_FMT_FLAG_BE == 0
      offsets.append(Int(colour.offset) + (isLittle ? 1 : 0))
    }
    return (offsets[0], offsets[1], offsets[2], Int(first.step))
  }

  private func direct(
    _ source: Rows, _ offsets: (red: Int, green: Int, blue: Int, step: Int), _ width: Int, _ height: Int
  ) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: width * height * 3) { target, count in
      var place = 0
      for y in 0..<height {
        var pixel = source.start + y * source.stride
        for _ in 0..<width {
          target[place] = pixel[offsets.red]
          target[place + 1] = pixel[offsets.green]
          target[place + 2] = pixel[offsets.blue]
          place += 3
          pixel += offsets.step
        }
      }
      count = place
    }
  }

  /// A palette is 256 native 32-bit words of alpha, red, green, blue.
  private func paletted(
    _ source: Rows, _ palette: UnsafeMutablePointer<UInt8>, _ width: Int, _ height: Int
  ) -> [UInt8] {
    let words = UnsafeRawPointer(palette)
    return [UInt8](unsafeUninitializedCapacity: width * height * 3) { target, count in
      var place = 0
      for y in 0..<height {
        let row = source.start + y * source.stride
        for x in 0..<width {
          let word = words.loadUnaligned(fromByteOffset: Int(row[x]) * 4, as: UInt32.self)
          target[place] = UInt8(truncatingIfNeeded: word >> 16)
          target[place + 1] = UInt8(truncatingIfNeeded: word >> 8)
          target[place + 2] = UInt8(truncatingIfNeeded: word)
          place += 3
        }
      }
      count = place
    }
  }

  private func scaled(_ frame: UnsafeMutablePointer<AVFrame>, width: Int) throws -> Rows {
    let value = frame.pointee
    let isFull =
      value.color_range == AVCOL_RANGE_JPEG
      || [AV_PIX_FMT_YUVJ420P, AV_PIX_FMT_YUVJ422P, AV_PIX_FMT_YUVJ444P, AV_PIX_FMT_YUVJ440P]
        .contains(AVPixelFormat(rawValue: value.format))
    let matrix = matrix(value)
    let wanted = [value.width, Int32(width), value.height, value.format, matrix, isFull ? 1 : 0]
    if wanted != shape {
      sws_freeContext(scaler)
      scaler = cff_scaler(
        value.width, value.height, value.format, matrix, isFull ? 1 : 0, Int32(width), AV_PIX_FMT_RGB24.rawValue,
        SWS_CS_DEFAULT, 1)
      target = try Frame(width: width, height: Int(value.height), format: AV_PIX_FMT_RGB24)
      shape = wanted
    }
    guard let scaler, let target, cff_scale(scaler, frame, target.pointer) >= 0,
      let plane = target.pointer.pointee.data.0
    else {
      shape = []
      throw LiveTalkError("A decoded picture cannot be converted to RGB.")
    }
    return Rows(start: UnsafePointer(plane), stride: Int(target.pointer.pointee.linesize.0))
  }

  /// The matrix a frame names; for one that names none, what players assume from its size.
  private func matrix(_ frame: AVFrame) -> Int32 {
    switch frame.colorspace {
    case AVCOL_SPC_BT709: return SWS_CS_ITU709
    case AVCOL_SPC_BT2020_NCL, AVCOL_SPC_BT2020_CL: return SWS_CS_BT2020
    case AVCOL_SPC_SMPTE240M: return SWS_CS_SMPTE240M
    case AVCOL_SPC_FCC: return SWS_CS_FCC
    case AVCOL_SPC_BT470BG, AVCOL_SPC_SMPTE170M: return SWS_CS_ITU601
    default: return frame.width >= 1280 || frame.height > 576 ? SWS_CS_ITU709 : SWS_CS_ITU601
    }
  }
}

/// Borrowed rows of bytes with a stride.
private struct Rows {
  let start: UnsafePointer<UInt8>
  let stride: Int

  func packed(width: Int, height: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: width * height * 3) { target, count in
      guard let base = target.baseAddress else { return }
      for y in 0..<height { memcpy(base + y * width * 3, start + y * stride, width * 3) }
      count = width * height * 3
    }
  }
}
