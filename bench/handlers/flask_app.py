"""The same answer from Flask, as people would write it."""

from flask import Flask

app = Flask(__name__)


@app.get("/hello")
def hello():
    return {"message": "hello", "path": "/hello"}
