import Basics
import Crypto
import CryptoExtras
import Foundation

/// A key that signatures of JSON Web Tokens are checked with. A key has one algorithm: what a token claims to be signed with must be
/// that one, so that no public key can pass for a secret.
struct VerificationKey: Sendable {
  enum Algorithm: String, Sendable, CaseIterable {
    case hs256 = "HS256"
    case rs256 = "RS256"
    case es256 = "ES256"
  }

  private enum Material: Sendable {
    case secret(SymmetricKey)
    case rsa(_RSA.Signing.PublicKey)
    case p256(P256.Signing.PublicKey)
  }

  /// `kid`: tokens that name a key are checked with that one only.
  let id: String?
  private let material: Material

  /// Bytes that a secret has at least: as many as its digests (RFC 7518, 3.2).
  static let leastSecretBytes = 32

  private init(id: String?, _ material: Material) { (self.id, self.material) = (id, material) }

  /// - Returns: nil for a secret that is too short.
  init?(secret: some Sequence<UInt8>, id: String? = nil) {
    let bytes = Array(secret)
    guard bytes.count >= Self.leastSecretBytes else { return nil }
    self.init(id: id, .secret(SymmetricKey(data: bytes)))
  }

  var algorithm: Algorithm {
    switch material {
    case .secret: .hs256
    case .rsa: .rs256
    case .p256: .es256
    }
  }

  func isValid(_ signature: [UInt8], of signed: some Sequence<UInt8>) -> Bool {
    let signed = Array(signed)
    switch material {
    case .secret(let key): return HMAC<SHA256>.isValidAuthenticationCode(signature, authenticating: signed, using: key)
    case .rsa(let key):
      return key.isValidSignature(.init(rawRepresentation: signature), for: signed, padding: .insecurePKCS1v1_5)
    case .p256(let key):
      guard let signature = try? P256.Signing.ECDSASignature(rawRepresentation: signature) else { return false }
      return key.isValidSignature(signature, for: signed)
    }
  }
}

extension VerificationKey {
  /// A key of a set as RFC 7517 and RFC 7518 (6) write it.
  private struct Entry: Decodable {
    var kty, kid, use, alg, crv, k, n, e, x, y: String?
  }

  /// The keys of a JWKS file for HS256, RS256 and ES256; others are passed over, as RFC 7517 (5) wants.
  ///
  /// - Throws: `LiveServerSettingsError` for a set that is none, has no such key, or has one that is damaged or too short.
  static func keys(ofSet data: Data, name: String) throws(LiveServerSettingsError) -> [VerificationKey] {
    struct Set: Decodable { var keys: [Entry] }
    let name = shortened(name)
    guard let set = try? JSONDecoder().decode(Set.self, from: data) else {
      throw LiveServerSettingsError(
        "\(name) is no set of keys: it should be JSON such as {\"keys\": [{\"kty\": \"EC\", …}]}.")
    }
    var keys: [VerificationKey] = []
    for (index, entry) in set.keys.enumerated() where entry.use ?? "sig" == "sig" {
      guard let algorithm = algorithm(of: entry), entry.alg ?? algorithm.rawValue == algorithm.rawValue else {
        continue
      }
      guard let key = VerificationKey(entry, algorithm) else {
        throw LiveServerSettingsError(
          "Key \(index + 1) of \(name) cannot be used: \(algorithm.rawValue) needs \(algorithm.needs).")
      }
      keys.append(key)
    }
    guard !keys.isEmpty else {
      throw LiveServerSettingsError("\(name) has no key for HS256, RS256 or ES256.")
    }
    return keys
  }

  private static func algorithm(of entry: Entry) -> Algorithm? {
    switch (entry.kty, entry.crv) {
    case ("oct", _): .hs256
    case ("RSA", _): .rs256
    case ("EC", "P-256"): .es256
    default: nil
    }
  }

  private init?(_ entry: Entry, _ algorithm: Algorithm) {
    func bytes(_ text: String?) -> [UInt8]? { text.flatMap { base64URL($0) } }
    switch algorithm {
    case .hs256:
      guard let secret = bytes(entry.k) else { return nil }
      self.init(secret: secret, id: entry.kid)
    case .rs256:
      guard let n = bytes(entry.n), let e = bytes(entry.e), let key = try? _RSA.Signing.PublicKey(n: n, e: e),
        key.keySizeInBits >= 2_048
      else { return nil }
      self.init(id: entry.kid, .rsa(key))
    case .es256:
      guard let x = bytes(entry.x), let y = bytes(entry.y),
        let key = try? P256.Signing.PublicKey(rawRepresentation: x + y)
      else { return nil }
      self.init(id: entry.kid, .p256(key))
    }
  }
}

extension VerificationKey.Algorithm {
  fileprivate var needs: String {
    switch self {
    case .hs256: "a secret 'k' of at least \(VerificationKey.leastSecretBytes) bytes"
    case .rs256: "'n' and 'e' of at least 2048 bits"
    case .es256: "the coordinates 'x' and 'y' of a point of P-256"
    }
  }
}

/// The bytes of a text in base64url without padding (RFC 7515, 2); nil where it is none.
func base64URL(_ text: some StringProtocol) -> [UInt8]? {
  guard text.utf8.allSatisfy({ $0 != 0x2B && $0 != 0x2F && $0 != 0x3D }) else { return nil }
  let standard = text.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 }
  return Data(base64Encoded: String(standard) + String(repeating: "=", count: (4 - standard.count % 4) % 4))
    .map { Array($0) }
}
