/// The body of a `multipart/form-data` request.
struct MultipartForm {
  private let boundary = "livetalk-\(UInt64.random(in: .min ... .max))"
  private(set) var bytes: [UInt8] = []

  var contentType: String { "multipart/form-data; boundary=\(boundary)" }

  mutating func add(_ name: String, _ value: String) {
    bytes += "--\(boundary)\r\nContent-Disposition: form-data; name=\"\(name)\"\r\n\r\n\(value)\r\n".utf8
  }

  mutating func add(_ name: String, file: String, type: String, _ contents: [UInt8]) {
    bytes +=
      "--\(boundary)\r\nContent-Disposition: form-data; name=\"\(name)\"; filename=\"\(file)\"\r\nContent-Type: \(type)\r\n\r\n"
      .utf8
    bytes += contents
    bytes += "\r\n".utf8
  }

  mutating func finish() { bytes += "--\(boundary)--\r\n".utf8 }
}
