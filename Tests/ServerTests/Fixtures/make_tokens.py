"""Makes tokens.json with PyJWT, an implementation other than ours: keys of each kind and tokens that they signed, to be valid until 2100.

pip install pyjwt cryptography; python make_tokens.py > tokens.json
"""

import json

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

secret = "a secret of the tests that has more than 32 bytes"
keys = {"rsa": rsa.generate_private_key(65537, 2048), "ec": ec.generate_private_key(ec.SECP256R1())}
strangers = {"rsa": rsa.generate_private_key(65537, 2048), "ec": ec.generate_private_key(ec.SECP256R1())}
public = [
    {**RSAAlgorithm.to_jwk(keys["rsa"].public_key(), as_dict=True), "kid": "rsa", "use": "sig", "alg": "RS256"},
    {**ECAlgorithm.to_jwk(keys["ec"].public_key(), as_dict=True), "kid": "ec", "use": "sig"},
    # What a set may hold beside them: keys for other uses, of kinds that are not taken.
    {**RSAAlgorithm.to_jwk(strangers["rsa"].public_key(), as_dict=True), "kid": "sealing", "use": "enc"},
    {"kty": "OKP", "crv": "X25519", "kid": "other", "x": "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo"},
]
claims = {"sub": "ada", "aud": "livetalk", "exp": 4102444800}
tokens = {
    "HS256": jwt.encode(claims, secret, "HS256"),
    "RS256": jwt.encode(claims, keys["rsa"], "RS256", headers={"kid": "rsa"}),
    "ES256": jwt.encode(claims, keys["ec"], "ES256", headers={"kid": "ec"}),
    "ES256 without kid": jwt.encode(claims, keys["ec"], "ES256"),
    "RS256 by a stranger": jwt.encode(claims, strangers["rsa"], "RS256", headers={"kid": "rsa"}),
    "RS256 by a key for sealing": jwt.encode(claims, strangers["rsa"], "RS256", headers={"kid": "sealing"}),
    "ES256 by a stranger": jwt.encode(claims, strangers["ec"], "ES256", headers={"kid": "ec"}),
    "ES256 under another key's name": jwt.encode(claims, keys["ec"], "ES256", headers={"kid": "rsa"}),
    "HS256 by a stranger": jwt.encode(claims, secret[::-1], "HS256"),
    "HS512": jwt.encode(claims, secret, "HS512"),
    "none": jwt.encode(claims, None, "none"),
    # What is public of a key as the secret: the confusion of algorithms.
    "HS256 with the public key": jwt.encode(claims, public[0]["n"], "HS256", headers={"kid": "rsa"}),
}
print(json.dumps({"secret": secret, "jwks": {"keys": public}, "tokens": tokens}, indent=1))
