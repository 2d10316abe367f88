import Basics
package import Foundation
import Logging
import Synchronization

/// Checks JSON Web Tokens (RFC 7519): who signed them, for whom, and until when they hold.
///
/// Keys come from the environment (a secret for HS256) and from a JWKS file, which is read anew when it changes.
package final class TokenVerifier: Sendable {
  /// What a token says of its bearer.
  private struct Claims: Decodable {
    var exp: Double?
    var nbf: Double?
    var iss: String?
    var sub: String?
    var aud: Audiences?
    var livetalk: Grants?
  }

  /// One name or several (RFC 7519, 4.1.3).
  private struct Audiences: Decodable {
    var names: [String]

    init(from decoder: any Decoder) throws {
      let value = try decoder.singleValueContainer()
      names = try (try? value.decode(String.self)).map { [$0] } ?? value.decode([String].self)
    }
  }

  /// The claim `livetalk`: what its bearer may do.
  private struct Grants: Decodable {
    var admin: Bool?
    var sessions: Int?
    var sessionSeconds: Double?
    var session: String?

    private enum CodingKeys: String, CodingKey {
      case admin, sessions, session
      case sessionSeconds = "session_seconds"
    }
  }

  private struct Header: Decodable {
    var alg: String
    var kid: String?
    var crit: [String]?
  }

  private struct KeySet {
    var keys: [VerificationKey]
    var changed: Date?
    var looked: ContinuousClock.Instant
  }

  /// Seconds by which clocks may differ.
  private static let leeway = 30.0
  /// How often the file of keys is looked at.
  private static let interval = Duration.seconds(10)

  private let secret: VerificationKey?
  private let file: URL?
  private let audience: String
  private let issuer: String?
  private let interval: Duration
  private let now: @Sendable () -> Date
  private let fromFile: Mutex<KeySet>

  /// - Parameters:
  ///   - secret: the key of HS256.
  ///   - file: a JWKS file.
  ///   - audience: what tokens must be made for.
  ///   - issuer: who must have made them; nil for whoever has a key.
  /// - Throws: `LiveServerSettingsError`, or what keeps the file from being read.
  package convenience init(secret: String?, file: URL?, audience: String, issuer: String?) throws {
    try self.init(secret: secret, file: file, audience: audience, issuer: issuer, interval: Self.interval) { Date() }
  }

  init(
    secret: String?, file: URL?, audience: String, issuer: String?, interval: Duration,
    now: @escaping @Sendable () -> Date
  ) throws {
    (self.file, self.audience, self.issuer, self.interval, self.now) = (file, audience, issuer, interval, now)
    self.secret = try secret.map {
      guard let key = VerificationKey(secret: $0.utf8) else {
        throw LiveServerSettingsError(
          "LIVETALK_JWT_SECRET is too short: HS256 needs \(VerificationKey.leastSecretBytes) bytes, such as those of `openssl rand -hex 32`."
        )
      }
      return key
    }
    fromFile = Mutex(KeySet(keys: try file.map(Self.read) ?? [], changed: file.flatMap(Self.changed), looked: .now))
  }

  /// - Throws: `APIError` that says why the token does not hold.
  func check(_ token: some StringProtocol) throws(APIError) -> Caller {
    let pieces = token.split(separator: ".", omittingEmptySubsequences: false)
    guard pieces.count == 3, let head = base64URL(pieces[0]), let body = base64URL(pieces[1]),
      let signature = base64URL(pieces[2]), let header = try? JSONDecoder().decode(Header.self, from: Data(head))
    else { throw Self.refused("The token is no JSON Web Token.") }
    guard let algorithm = VerificationKey.Algorithm(rawValue: header.alg), header.crit == nil else {
      throw Self.refused("The token is signed in a way that is not taken here: HS256, RS256 and ES256 are.")
    }
    let signed = Array("\(pieces[0]).\(pieces[1])".utf8)
    let isSigned = keys().contains { key in
      key.algorithm == algorithm && (header.kid == nil || key.id == nil || key.id == header.kid)
        && key.isValid(signature, of: signed)
    }
    guard isSigned else { throw Self.refused("The token is not signed by a key of this server.") }
    // Nothing of the body is looked at before it is known to be ours.
    guard let claims = try? JSONDecoder().decode(Claims.self, from: Data(body)) else {
      throw Self.refused("The token's claims are of the wrong types.")
    }
    return try caller(claims)
  }

  private func caller(_ claims: Claims) throws(APIError) -> Caller {
    let time = now().timeIntervalSince1970
    guard let end = claims.exp else { throw Self.refused("The token never expires: it needs the claim 'exp'.") }
    guard time < end + Self.leeway else { throw Self.refused("The token has expired.") }
    if let start = claims.nbf, time < start - Self.leeway { throw Self.refused("The token is not valid yet.") }
    guard claims.aud?.names.contains(audience) == true else {
      throw Self.refused("The token is for somebody else: its claim 'aud' has to name '\(audience)'.")
    }
    if let issuer, claims.iss != issuer {
      throw Self.refused("The token is by somebody else: its claim 'iss' has to be '\(issuer)'.")
    }
    guard let user = claims.sub, !user.isEmpty, user.utf8.count <= 256 else {
      throw Self.refused("The token names nobody: it needs the claim 'sub', of at most 256 bytes.")
    }
    let grants = claims.livetalk
    guard (grants?.sessions ?? 0) >= 0, (grants?.sessionSeconds ?? 1) > 0 else {
      throw Self.refused("The token's limits are below zero.")
    }
    if grants?.admin == true { return .administrator }
    return Caller(
      user: user, sessions: grants?.sessions, sessionSeconds: grants?.sessionSeconds, session: grants?.session)
  }

  private static func refused(_ why: String) -> APIError { APIError(.unauthorized, why) }

  /// The keys that hold now. A file that was damaged since changes nothing, and is told in the log.
  private func keys() -> [VerificationKey] {
    let current = fromFile.withLock { set in
      guard let file, ContinuousClock.now - set.looked >= interval else { return set.keys }
      set.looked = .now
      let changed = Self.changed(file)
      guard changed != set.changed else { return set.keys }
      set.changed = changed
      do { set.keys = try Self.read(file) } catch {
        Logger(label: "livetalk").error("The keys stay as they were: \(userSentence(error))")
      }
      return set.keys
    }
    return current + (secret.map { [$0] } ?? [])
  }

  private static func read(_ file: URL) throws -> [VerificationKey] {
    try VerificationKey.keys(ofSet: readFile(file), name: file.path)
  }

  private static func changed(_ file: URL) -> Date? {
    (try? FileManager.default.attributesOfItem(atPath: file.path))?[.modificationDate] as? Date
  }
}
