"""Every secret that the tests of access/ use; tests/unit/access/conftest.py looks for them in all logs."""

KEY = "Stream-Key_Zq7"
OTHER_KEY = "Stream-Key_Xw9"
JWT_SECRET = "jwt-secret-Kp3"
CONTROL_SECRET = "control-secret-Lm5"
REDIS_PASSWORD = "p@ss/w:rd#Rn8"
TOKEN_START = "eyJ"  # how a JSON web token begins

ALL = (KEY, OTHER_KEY, JWT_SECRET, CONTROL_SECRET, REDIS_PASSWORD, TOKEN_START)
