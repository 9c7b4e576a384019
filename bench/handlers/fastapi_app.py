"""The same answer from FastAPI, as people would write it."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/hello")
async def hello():
    return {"message": "hello", "path": "/hello"}
