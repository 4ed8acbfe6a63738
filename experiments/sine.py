from ._config import Config
def run(config: Config):
    """s"""
